"""What a checkpoint file holds, looked at value by value before anything acts on it."""
