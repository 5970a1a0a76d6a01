"""The sweeps, as configurations pick them. Their modules import what decides on runs in `build` alone."""
