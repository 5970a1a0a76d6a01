"""The parent that all runs of the fault tests are forked from: everything is imported once, here."""

import imgrec.training.run  # noqa: F401
