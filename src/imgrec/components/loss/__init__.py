"""The losses. Each takes class indices or class probabilities as targets."""
