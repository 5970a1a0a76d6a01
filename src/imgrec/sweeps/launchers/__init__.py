"""Launchers that a configuration selects by name. Their modules import the code that carries out runs in `build`."""
