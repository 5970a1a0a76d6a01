"""Callbacks that a configuration selects by name. Their modules import the code that computes only in `build`."""
