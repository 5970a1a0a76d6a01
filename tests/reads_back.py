"""Count the waits for a device."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class ReadsBack(TorchDispatchMode):
    """Counts the numbers that are read from a tensor, for each of which a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))
