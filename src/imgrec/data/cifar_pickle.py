"""Read the pickles that CIFAR-10 and CIFAR-100 are published as (Krizhevsky 2009). Imports no torch."""

import io
import pickle
from typing import Any

import numpy as np


def load(content: bytes, title: str) -> dict[bytes, Any]:
    """Return what a published file contains. The caller has checked that it is the published one.

    Args:
        content: The file's bytes.
        title: The data set's name, for the error message.

    Raises:
        pickle.UnpicklingError: The file names something else than an array.
    """
    loaded: dict[bytes, Any] = _Unpickler(content, title).load()
    return loaded


class _Unpickler(pickle.Unpickler):
    """Allows only what the official files need: an array, its type and its constructor."""

    # taken from an array itself: the constructor's module differs between NumPy 1 and 2
    _reconstruct = staticmethod(np.empty(0).__reduce__()[0])  # type: ignore[arg-type]

    def __init__(self, content: bytes, title: str) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._title = title

    def find_class(self, module: str, name: str) -> Any:
        admitted = {
            ("numpy.core.multiarray", "_reconstruct"): self._reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"{self._title} files name no {module}.{name}")
        return admitted[module, name]
