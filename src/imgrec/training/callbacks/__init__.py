"""The callbacks, as configurations pick them. Their modules import what computes in `build` alone."""
