"""List which images one device visits in an epoch, and in which pass over the training set.

An epoch is a pass over the training set, unless images are left out. An epoch then has as many visits as before: the
end of a pass over the remaining images, and the start of the next pass.
"""

# N images of the training set, K of them not left out, V visits of a device in an epoch, T of all devices

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgrec.data.augment_params import order
from imgrec.data.pruning import Subset


@dataclass(frozen=True, kw_only=True)
class Visits:
    """The images that a device visits in an epoch, in their order."""

    index_v: NDArray[np.int64]
    pass_v: NDArray[np.int32]
    """The number of the pass that the visit belongs to; it never decreases."""

    def passes(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each pass's number with the images that the device visits in it."""
        numbers, starts = np.unique(self.pass_v, return_index=True)
        return zip(numbers.tolist(), np.split(self.index_v, starts[1:]), strict=True)


def visits(count: int, *, seed: int, epoch: int, rank: int, world_size: int, subset: Subset | None = None) -> Visits:
    """Return the visits of device `rank` to `count` images.

    Each device takes every `world_size`-th of all visits. These are `order`, repeated from its start until their number
    is divisible by `world_size`; where images are left out, they are passes over the remaining images.

    Returns:
        V = ceil(N / world_size) visits, also where images are left out.
    """
    total = -(-count // world_size) * world_size
    if subset is None or subset.since is None or epoch < subset.since:
        index_t = np.resize(order(count, seed=seed, epoch=epoch), total)
        pass_t = np.full(total, epoch)
    else:
        index_t, pass_t = _visits_of_subset(subset.kept, total, seed=seed, epoch=epoch, since=subset.since)
    # copies: views would keep the visits of all devices in memory
    return Visits(index_v=index_t[rank::world_size].copy(), pass_v=pass_t[rank::world_size].astype(np.int32))


def _visits_of_subset(
    kept_k: NDArray[np.int64], total: int, *, seed: int, epoch: int, since: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the images and the passes (T) of an epoch's visits, where only `kept_k` are visited from epoch `since` on.

    From then on each pass directly follows the one before, and passes are numbered from `since` on.
    """
    done, begun = divmod((epoch - since) * total, len(kept_k))
    pass_t = since + done + (begun + np.arange(total)) // len(kept_k)
    orders = [order(len(kept_k), seed=seed, epoch=number) for number in range(since + done, int(pass_t[-1]) + 1)]
    return kept_k[np.concatenate(orders)[begun : begun + total]], pass_t
