"""The schedules: the learning rate as a share of its peak."""
