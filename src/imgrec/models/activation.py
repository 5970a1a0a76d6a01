"""The nonlinearities that a model's `activation` names."""

from collections.abc import Callable

from torch import nn

# PyTorch's own shapes: leaky_relu slopes 0.01 below zero, elu's alpha is 1, gelu is exact.
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
}


def activation(name: str) -> nn.Module:
    """A fresh module for one of config.model.ACTIVATIONS; KeyError for any other name (the config refused it)."""
    return _ACTIVATIONS[name]()
