"""Fixture of the process from which the fault tests fork their runs: it has imported everything once."""

import imgrec.training.run  # noqa: F401
