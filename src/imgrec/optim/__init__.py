"""Build optimizers and learning-rate schedules from their axes of the configuration."""
