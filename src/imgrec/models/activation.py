"""Build the nonlinearity that a model's `activation` names."""

from collections.abc import Callable

from torch import nn

# PyTorch's defaults: leaky_relu has slope 0.01 below zero, elu's alpha is 1, gelu is exact.
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
}


def activation(name: str) -> nn.Module:
    """Return a new module for one of config.model.ACTIVATIONS.

    Raises:
        KeyError: The name is unknown; the configuration refuses such a name earlier.
    """
    return _ACTIVATIONS[name]()
