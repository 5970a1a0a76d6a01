"""Give one device its batches and tables of one epoch after the other."""

# N images of the training set, V visits of a device in an epoch, B of them in a batch

import numpy as np
from numpy.typing import NDArray

from imgrec.config.augment import Augment
from imgrec.data import balanced
from imgrec.data.epoch_table import Array, EpochTable, epoch_table
from imgrec.data.pruning import Subset
from imgrec.data.visits import Visits, visits


class Epochs:
    """The epochs of one device: their batches, which are slices of their visits, and their tables."""

    def __init__(
        self,
        cfg: Augment,
        labels_n: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        rank: int,
        world_size: int,
        subset: Subset | None,
        balances: bool,
    ) -> None:
        self._cfg = cfg
        self._labels_n = labels_n
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._subset = subset
        self._balances = balances
        self._visits: tuple[int, Visits] | None = None
        self._standing: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        """The number of batches of an epoch; the last batch may be smaller."""
        own = -(-len(self._labels_n) // self._world_size)
        return -(-own // self._batch_size)

    def batch(self, number: int) -> slice:
        """Return the visits of a batch, by the batch's number."""
        return slice(number * self._batch_size, (number + 1) * self._batch_size)

    def indices(self, epoch: int, number: int) -> NDArray[np.int64]:
        """Return the images that this batch of the epoch visits: int64 (B,)."""
        places_b = self._visited(epoch).index_v[self.batch(number)]
        standing_n = self._standing_in(epoch)
        return places_b if standing_n is None else standing_n[places_b]

    def table(self, epoch: int, *, side: tuple[int, int]) -> EpochTable[Array]:
        """Make the table of the epoch. side: (H,W) of every image."""
        return epoch_table(
            self._cfg,
            self._labels_n,
            self._visited(epoch),
            seed=self._seed,
            side=side,
            standing_n=self._standing_in(epoch),
        )

    def _standing_in(self, epoch: int) -> NDArray[np.int64] | None:
        """Return the image in each place of a balanced epoch; None where each image stands in its own."""
        if not self._balances:
            return None
        if self._standing is None or self._standing[0] != epoch:
            self._standing = (epoch, balanced.standing(self._labels_n, seed=self._seed, epoch=epoch))
        return self._standing[1]

    def _visited(self, epoch: int) -> Visits:
        if self._visits is None or self._visits[0] != epoch:
            made = visits(
                len(self._labels_n),
                seed=self._seed,
                epoch=epoch,
                rank=self._rank,
                world_size=self._world_size,
                subset=self._subset,
            )
            self._visits = (epoch, made)
        return self._visits[1]
