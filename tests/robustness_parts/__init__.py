"""An example of an outside package: a loss, a network, a data set, a protocol, a callback and a launcher."""

from robustness_parts import attack, callback, data, launcher, loss, network  # noqa: F401
