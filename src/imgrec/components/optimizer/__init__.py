"""The optimizers, each with published values or the defaults of a named library."""
