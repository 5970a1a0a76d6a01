"""Leave out the easiest training images, once the network has shown which they are.

"Deep Learning on a Data Diet" (Paul, Ganguli & Dziugaite 2021, arXiv 2107.07075) prunes a data set before training, by
errors early in other trainings. Here the losses of the present training decide once which images are easy, and training
continues without them (InfoBatch, Qin et al. 2024, arXiv 2303.04947, chooses again in every epoch).
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
    """Which of `count` training images are visited: all of them, and from some epoch on only a part.

    It is in shared memory, because workers that were started before the change must see it.
    """

    def __init__(self, count: int) -> None:
        self._kept_n = batch_transport.zeros(count, torch.bool).fill_(True)
        self._since = batch_transport.zeros(1, torch.int64).fill_(_NEVER)

    def __len__(self) -> int:
        """The number of all images, with those that are left out."""
        return len(self._kept_n)

    @property
    def since(self) -> int | None:
        """The first epoch without the images that are left out; None while all are visited."""
        since = int(self._since)
        return None if since == _NEVER else since

    @property
    def kept(self) -> NDArray[np.int64]:
        """The images that are visited from `since` on, ascending."""
        return np.flatnonzero(self._kept_n.numpy())

    @property
    def kept_n(self) -> Tensor:
        """True for each image that is visited from `since` on: bool (N,), a copy."""
        copy: Tensor = self._kept_n.clone()
        return copy

    def keep(self, kept_n: Tensor, *, since: int) -> None:
        """Visit only these images from epoch `since` on. kept_n: bool (N,), with at least one True."""
        if kept_n.shape != self._kept_n.shape or not kept_n.any():
            raise ValueError(f"a subset of {len(self)} images keeps some of these, got {tuple(kept_n.shape)}")
        self._kept_n.copy_(kept_n)
        self._since.fill_(since)


def all_but_easiest(losses_n: Tensor, share: float, *, seed: int) -> Tensor:
    """Return which images to keep: bool (N,).

    The images with the smallest losses are left out. Among equal losses the choice is random, as images are often
    stored class by class.

    Args:
        losses_n: The images' losses.
        share: The share of images to leave out, in [0, 1); their number is rounded down.
        seed: The seed of the random choice.
    """
    drawn_n = torch.randperm(len(losses_n), generator=torch.Generator().manual_seed(seed))
    ascending_n = drawn_n[losses_n[drawn_n].argsort(stable=True)]
    kept_n = torch.ones(len(losses_n), dtype=torch.bool)
    kept_n[ascending_n[: math.floor(round(share * len(losses_n), 6))]] = False  # 0.29 of 100 is 29
    return kept_n
