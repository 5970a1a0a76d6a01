"""Read the contents of a checkpoint file, and check each value before it is used."""
