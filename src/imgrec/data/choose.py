"""Choose which training images a run has, and which of them get a wrong label. Imports no torch.

Everything is drawn with 64-bit words of PCG64, one or two for each training image, from seeds of its own. So the same
images and labels are chosen for every seed of a run, on every machine, and in every version of NumPy.
"""

# N training images of the data set, M of them chosen, K classes

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgrec.config.data import Data
from imgrec.data.scan import Listing
from imgrec.data.split import Indices, varied
from imgrec.errors import UsageError

SUBSET_SEED, NOISE_SEED = 27, 28  # constants, so that every run has the same images and labels


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The training images of a run.

    Attributes:
        places_m: The indices of the chosen images, rising.
        labels_m: Their labels, some of them wrong if data.label_noise asks for it.
        changed: How many labels are wrong.
    """

    places_m: Indices
    labels_m: Indices
    changed: int


def applies(cfg: Data) -> bool:
    """Return True if the run does not simply have all training images with their own labels."""
    return cfg.subset < 1 or cfg.imbalance < 1 or cfg.label_noise > 0


def choose(cfg: Data, labels_n: Indices, classes: int) -> Choice:
    """Return the training images that data.imbalance and data.subset leave, with the labels of data.label_noise.

    A class keeps the images with the smallest words. So a smaller subset, and a longer tail, lies inside a larger one
    of the same data.subset_seed.

    Args:
        cfg: The configuration.
        labels_n: The class of each training image.
        classes: K.

    Raises:
        UsageError: A class would keep no image, or there is no other class for a wrong label.
    """
    sizes_k = np.bincount(labels_n, minlength=classes)
    kept_k = kept_sizes(cfg, sizes_k)
    words_n = np.random.PCG64(varied(SUBSET_SEED, cfg.subset_seed)).random_raw(len(labels_n))
    places_m = np.sort(_first(labels_n, words_n, kept_k))
    labels_m = labels_n[places_m]
    if not cfg.label_noise:
        return Choice(places_m=places_m, labels_m=labels_m, changed=0)
    if classes < 2:
        raise UsageError(f"data.label_noise needs at least 2 classes, got {classes}; leave it out")
    words_2n = np.random.PCG64([NOISE_SEED, cfg.noise_seed]).random_raw(2 * len(labels_n)).reshape(2, -1)
    wrong_k = _spread(kept_k, round(cfg.label_noise * len(places_m)))
    wrong = _first(labels_m, words_2n[0, places_m], wrong_k)
    step = np.ones(len(wrong), np.int64)
    if cfg.noise_kind == "symmetric":
        step += (words_2n[1, places_m[wrong]] % np.uint64(classes - 1)).astype(np.int64)
    labels_m = labels_m.copy()
    labels_m[wrong] = (labels_m[wrong] + step) % classes
    return Choice(places_m=places_m, labels_m=labels_m, changed=len(wrong))


def counts(cfg: Data, listing: Listing | None = None) -> tuple[int, int]:
    """Return the numbers of training and validation images of a run.

    Args:
        cfg: The configuration.
        listing: The listing of a folder, where one was made already.

    Raises:
        UsageError: As in `kept_sizes`.
    """
    if cfg.subset == 1 and cfg.imbalance == 1:
        return cfg.counts(listing)
    of_classes, val = cfg.class_counts(listing)
    return int(kept_sizes(cfg, of_classes).sum()), val


def kept_sizes(cfg: Data, sizes_k: Sequence[int] | Indices) -> Indices:
    """Return how many training images each class keeps: first data.imbalance takes some, then data.subset.

    Args:
        cfg: The configuration.
        sizes_k: The number of training images of each class.

    Raises:
        UsageError: A class would keep no image.
    """
    kept_k = np.asarray(sizes_k, np.int64)
    if cfg.imbalance < 1:
        last = max(len(kept_k) - 1, 1)
        shares = (cfg.imbalance ** (number / last) for number in range(len(kept_k)))
        # rounded first: 4500 * 0.01 ** 0.5 is 450 on every machine
        tail_k = [math.floor(round(int(n) * share, 6)) for n, share in zip(kept_k, shares, strict=True)]
        kept_k = _refuse_empty("data.imbalance", cfg.imbalance, kept_k, np.array(tail_k, np.int64))
    if cfg.subset < 1:
        part_k = _spread(kept_k, round(cfg.subset * int(kept_k.sum())))
        kept_k = _refuse_empty("data.subset", cfg.subset, kept_k, part_k)
    return kept_k


def _spread(sizes_k: Indices, size: int) -> Indices:
    """Return how many of `size` images each class gives, in proportion to its size.

    The r-th image of a class of n has the place (r + 1/2) / n, and the images with the first places are taken. So no
    class gives fewer images to a larger size, which the largest remainders of `split.quotas` do not guarantee.
    """
    places = np.concatenate([(2 * np.arange(n) + 1) / (2 * n) for n in sizes_k.tolist() if n] or [np.zeros(0)])
    numbers = np.repeat(np.arange(len(sizes_k)), sizes_k)
    return np.bincount(numbers[np.argsort(places, kind="stable")[:size]], minlength=len(sizes_k)).astype(np.int64)


def _first(labels_n: Indices, words_n: NDArray[np.uint64], count_k: Indices) -> Indices:
    """Return the indices of the images with the smallest words of each class."""
    order_n = np.lexsort((words_n, labels_n))
    starts_k = np.searchsorted(labels_n[order_n], np.arange(len(count_k)))
    parts = [order_n[start : start + count] for start, count in zip(starts_k, count_k, strict=True)]
    return np.concatenate(parts or [np.zeros(0, np.int64)])


def _refuse_empty(key: str, value: float, before_k: Indices, after_k: Indices) -> Indices:
    """Return `after_k`; refuse a class that has images before and none after."""
    if len(empty := np.flatnonzero((before_k > 0) & (after_k == 0))):
        raise UsageError(
            f"{key} must leave at least 1 training image of every class, got {value}: class number {empty[0]} would"
            f" keep none of its {before_k[empty[0]]}; use a larger one"
        )
    return after_k
