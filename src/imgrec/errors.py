"""The refusals that a user reads: one sentence that gives key or file, rule, value and way out."""


class UsageError(ValueError):
    """The request itself is wrong (a key, a value, a name): exit code 2."""


class RunError(RuntimeError):
    """The request is fine, but it cannot be carried out here (a file, the network, the disk): exit code 1."""
