"""Loggers that a configuration selects by name. Their modules import the code that writes only in `build`."""
