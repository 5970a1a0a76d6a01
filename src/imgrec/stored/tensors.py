"""Check tensors in a checkpoint, as `value_checks` does for plain values."""

from typing import Any

import torch
from torch import Tensor

from imgrec import value_checks


def dense(value: Any, what: str, *, like: Tensor | None = None) -> Tensor:
    """Return the value if it is a dense tensor, with the type and shape of `like` if given.

    Raises:
        ValueError: The value is no such tensor.
    """
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        found = value.layout if isinstance(value, Tensor) else value_checks.brief(value)
        raise ValueError(f"{what} must be a dense tensor, got {found}")
    if like is not None and (value.dtype, value.shape) != (like.dtype, like.shape):
        raise ValueError(f"{what} must be {described(like)}, got {described(value)}")
    return value


def described(value: Tensor) -> str:
    """Return type and shape in words."""
    return f"{value.dtype} of shape {tuple(value.shape)}"
