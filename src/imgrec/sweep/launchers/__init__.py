"""The launchers, as configurations pick them. Their modules import what carries runs out in `build` alone."""
