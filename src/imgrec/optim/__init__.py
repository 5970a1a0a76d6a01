"""Optimizers and learning-rate schedules, built from their axes of the configuration."""
