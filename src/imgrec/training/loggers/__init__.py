"""The loggers, as configurations pick them. Their modules import what writes in `build` alone."""
