"""A package of somebody else's: a loss, a network, a data set, a protocol, a callback and a launcher, a file each."""

from robustness_parts import attack, callback, data, launcher, loss, network  # noqa: F401
