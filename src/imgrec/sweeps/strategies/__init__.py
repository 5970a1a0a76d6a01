"""Sweeps that a configuration selects by name. Their modules import the code that decides on runs only in `build`."""
