"""Leaving the easiest training images out, once the network has shown which they are.

"Deep Learning on a Data Diet" (Paul, Ganguli & Dziugaite 2021, arXiv 2107.07075) prunes a data set before training, by
errors early in other trainings. Here the losses of the training at hand say which images are easy, once, and it goes on
without them (InfoBatch, Qin et al. 2024, arXiv 2303.04947, chooses anew in every epoch).
"""

# N images of the training set

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imgrec.data import batch_transport

_NEVER = -1


class Subset:
    """Which of `count` training images are visited: all of them, then from an epoch on only some.

    In shared memory: workers that were started before the change must see it.
    """

    def __init__(self, count: int) -> None:
        self._kept_n = batch_transport.zeros(count, torch.bool).fill_(True)
        self._since = batch_transport.zeros(1, torch.int64).fill_(_NEVER)

    def __len__(self) -> int:
        """All images, the ones that are left out included."""
        return len(self._kept_n)

    @property
    def since(self) -> int | None:
        """The first epoch without the others; None while all are visited."""
        since = int(self._since)
        return None if since == _NEVER else since

    @property
    def kept(self) -> NDArray[np.int64]:
        """The images that are visited from `since` on, ascending."""
        return np.flatnonzero(self._kept_n.numpy())

    @property
    def kept_n(self) -> Tensor:
        """Which these are: bool (N,), a copy."""
        copy: Tensor = self._kept_n.clone()
        return copy

    def keep(self, kept_n: Tensor, *, since: int) -> None:
        """Visit only these from epoch `since` on. kept_n: bool (N,), at least one of them true."""
        if kept_n.shape != self._kept_n.shape or not kept_n.any():
            raise ValueError(f"a subset of {len(self)} images keeps some of these, got {tuple(kept_n.shape)}")
        self._kept_n.copy_(kept_n)
        self._since.fill_(since)


def all_but_easiest(losses_n: Tensor, share: float, *, seed: int) -> Tensor:
    """Which images to keep, bool (N,): not the `share` in [0, 1) of them, rounded down, with the smallest losses.

    Which of equal losses goes first is drawn: images often lie class by class.
    """
    drawn_n = torch.randperm(len(losses_n), generator=torch.Generator().manual_seed(seed))
    ascending_n = drawn_n[losses_n[drawn_n].argsort(stable=True)]
    kept_n = torch.ones(len(losses_n), dtype=torch.bool)
    kept_n[ascending_n[: math.floor(round(share * len(losses_n), 6))]] = False  # 0.29 of 100 is 29
    return kept_n
