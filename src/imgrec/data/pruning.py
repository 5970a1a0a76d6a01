"""Leaving the easiest training images out, once the network has shown which they are.

"Deep Learning on a Data Diet" (Paul, Ganguli & Dziugaite 2021, arXiv 2107.07075) prunes a data set before training, by
errors early in other trainings. Here the training at hand says which images are easy, and goes on without them.
"""

# N images of the training set, B of them in a batch, K classes

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imgrec.errors import RunError

_NEVER = -1


class Pool:
    """Which of `count` training images are visited: all of them, then from an epoch on only some.

    In shared memory: workers that were started before the change must see it.
    """

    def __init__(self, count: int) -> None:
        self._kept_n = torch.ones(count, dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]
        self._since = torch.tensor(_NEVER).share_memory_()  # type: ignore[no-untyped-call]

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

    def keep(self, kept_n: Tensor, *, since: int) -> None:
        """Visit only these from epoch `since` on. kept_n: bool (N,), at least one of them true."""
        if kept_n.shape != self._kept_n.shape or not kept_n.any():
            raise ValueError(f"a pool of {len(self)} images keeps some of these, got {tuple(kept_n.shape)}")
        self._kept_n.copy_(kept_n)
        self._since.fill_(since)

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self._kept_n.clone(), "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises RunError where the state is of another number of images."""
        if len(state["kept"]) != len(self):
            raise RunError(
                f"data.prune chose among {len(state['kept'])} training images, and now there are {len(self)}; go on"
                " with the same images, or with data.prune=0"
            )
        if state["since"] is not None:
            self.keep(state["kept"], since=state["since"])


def el2n(logits_bk: Tensor, labels_b: Tensor) -> Tensor:
    """The error of each prediction, float32 (B,) in [0, sqrt(2)]: the Euclidean distance of its probabilities from 1
    for the true class and 0 for the others (Paul et al. 2021, definition 2.2, of one network and one view).
    """
    error_bk = logits_bk.float().softmax(dim=1)
    error_bk[torch.arange(len(labels_b), device=labels_b.device), labels_b] -= 1
    error_b: Tensor = error_bk.norm(dim=1)
    return error_b


def all_but_easiest(errors_n: Tensor, share: float) -> Tensor:
    """Which images to keep, bool (N,): not the `share` in [0, 1) of them, rounded down, with the smallest errors.

    Of equal errors the first is easier; an error that is not a number is no small one.
    """
    kept_n = torch.ones(len(errors_n), dtype=torch.bool)
    kept_n[errors_n.argsort(stable=True)[: int(share * len(errors_n))]] = False
    return kept_n
