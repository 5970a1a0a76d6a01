"""Store and restore the states of a process' global random generators, for a resumed run."""

import random
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from imgrec import value_checks
from imgrec.stored.tensors import dense

_Device = torch.device  # the class below has an attribute `torch`
_WORDS = 624  # in the state of a Mersenne Twister, the generator of Python and NumPy
_PYTHON_VERSION = 3  # version of Python's form of that state


@dataclass(frozen=True, kw_only=True)
class RandomState:
    """The states of the generators of Python, NumPy, PyTorch on the CPU (for dropout, say), and PyTorch on the GPU.

    Attributes:
        python: The value of `random.getstate`.
        numpy_words: int64 (624,).
        numpy_rest: The position in the words, whether a normal number is stored, and that number.
        torch: uint8.
        cuda: uint8; that of the process' GPU, and none on a CPU. Older versions stored one for each visible GPU.
    """

    python: tuple[int, tuple[int, ...], float | None]
    numpy_words: Tensor
    numpy_rest: tuple[int, int, float]
    torch: Tensor
    cuda: tuple[Tensor, ...]

    @classmethod
    def now(cls, device: _Device) -> Self:
        """Return the states in this process, which trains on that device."""
        version, words, gauss = random.getstate()
        _, keys, at, has_gauss, cached = np.random.get_state(legacy=True)
        return cls(
            python=(version, words, gauss),
            numpy_words=torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            numpy_rest=(int(at), int(has_gauss), float(cached)),
            torch=torch.get_rng_state(),
            cuda=(torch.cuda.get_rng_state(device),) if device.type == "cuda" else (),
        )

    def restore(self, device: _Device, *, rank: int = 0) -> bool:
        """Set the generators to these states.

        Args:
            device: The device that this process trains on.
            rank: The process' rank, which tells its GPU among several.

        Returns:
            False if the device is a GPU and these states hold none of a GPU, so that its generator stays as it is.
        """
        random.setstate(self.python)
        np.random.set_state(("MT19937", self.numpy_words.numpy().astype(np.uint32), *self.numpy_rest))
        torch.set_rng_state(self.torch)
        if device.type != "cuda":
            return True
        if not self.cuda:
            return False
        torch.cuda.set_rng_state(self.cuda[rank if rank < len(self.cuda) else 0], device)
        return True

    def to_plain(self) -> dict[str, Any]:
        """Return the values as a checkpoint stores them."""
        version, words, gauss = self.python
        return {
            "python": [version, list(words), gauss],
            "numpy": [self.numpy_words, *self.numpy_rest],
            "torch": self.torch,
            "cuda": list(self.cuda),
        }

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """Return the object that `to_plain` stored.

        Raises:
            ValueError, KeyError: The value has another form.
        """
        plain = value_checks.mapping(value, "Saver's random")
        version, numbers, gauss = value_checks.items(plain["python"], "python's generator", length=3)
        value_checks.integer(version, "python's generator", low=_PYTHON_VERSION, high=_PYTHON_VERSION)
        words = value_checks.items(numbers, "python's generator", length=_WORDS + 1)
        for word in words:
            value_checks.integer(word, "a word of python's generator", high=2**32 - 1)
        value_checks.integer(words[-1], "the place in python's generator", high=_WORDS)
        keys, at, has_gauss, cached = value_checks.items(plain["numpy"], "numpy's generator", length=4)
        value_checks.integer(at, "the place in numpy's generator", high=_WORDS)
        value_checks.integer(has_gauss, "numpy's generator", high=1)
        for number in (gauss, cached):
            if number is not None:
                value_checks.number(number, "a number of a generator")
        return cls(
            python=(version, tuple(words), gauss),
            numpy_words=dense(keys, "numpy's generator", like=torch.empty(_WORDS, dtype=torch.int64)),
            numpy_rest=(at, has_gauss, cached),
            torch=dense(plain["torch"], "torch's generator", like=torch.get_rng_state()),
            cuda=tuple(
                dense(each, "cuda's generator") for each in value_checks.items(plain["cuda"], "cuda's generators")
            ),
        )
