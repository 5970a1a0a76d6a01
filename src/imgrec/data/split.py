"""Make fixed, stratified splits: the same for every run, seed, machine and version of NumPy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.components.own_images import OwnImages
    from imgrec.config.held_out import HeldOutData

Indices = NDArray[np.int64]


def varied(seed: int, split_seed: int) -> int | Sequence[int]:
    """Return the data source's constant for `data.split_seed=0`, and another seed for each other value."""
    return [seed, split_seed] if split_seed else seed


def quotas(sizes_k: Sequence[int] | Indices, size: int) -> Indices:
    """Return how many of `size` images each class gives in `stratified`.

    Args:
        sizes_k: The number of images of each class.
        size: In [0, sum of sizes_k].
    """
    sizes = np.asarray(sizes_k, np.int64)
    count = max(int(sizes.sum()), 1)
    quota_k = size * sizes // count
    remainder_k = size * sizes % count
    quota_k[np.argsort(-remainder_k, kind="stable")[: size - int(quota_k.sum())]] += 1
    return quota_k


def stratified(
    labels_n: NDArray[np.int64], size: int, *, seed: int | Sequence[int], key: str
) -> tuple[Indices, Indices]:
    """Take `size` images out of a set so that each class keeps its share.

    A class gives the images with the smallest 64-bit words of PCG64(seed), with one word for each image. NumPy
    guarantees that stream forever, whereas `Generator.permutation` may change with a release.

    Args:
        labels_n: The class of each image.
        size: In [0, N]. Each class gives the integer part of its share `size * (its images) / N`. The images still
            missing come from the classes with the largest remainders (of two equal ones the first). Classes of equal
            size whose number divides `size` give exactly the same number of images.
        seed: Of the split, see `varied`; never the run's seed.
        key: The configuration key that sets `size`, for the error message.

    Returns:
        The indices that stay and the indices that are taken, both rising, disjoint, together all of [0, N).

    Raises:
        UsageError: A class would keep no image.
    """
    count = len(labels_n)
    if not 0 <= size <= count:
        raise UsageError(f"{key} must lie in [0, {count}] (the images there are), got {size}; use a smaller one")
    words_n = np.random.PCG64(seed).random_raw(count)
    classes, sizes_k = np.unique(labels_n, return_counts=True)
    quota_k = quotas(sizes_k, size)
    taken = np.zeros(count, dtype=bool)
    for label, images, quota in zip(classes, sizes_k, quota_k, strict=True):
        if quota >= images:
            raise UsageError(
                f"{key} must leave at least 1 training image of every class, got {size} of {count}: "
                f"class number {label} would keep none of its {images}; use a smaller one"
            )
        members = np.flatnonzero(labels_n == label)
        taken[members[np.argsort(words_n[members], kind="stable")[:quota]]] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def hold_out(
    labels_n: Indices, size: float, total: int, *, seed: int | Sequence[int], key: str
) -> tuple[Indices, Indices]:
    """Take a share of `total`, or a number of images, out of a set, as `stratified` does.

    Args:
        labels_n: The class of each image of the set.
        size: A share below 1, or a whole number of images.
        total: The number of images that a share is of.
        seed: As in `stratified`.
        key: As in `stratified`.

    Returns:
        The indices that stay and the indices that are taken, both rising.

    Raises:
        UsageError: The share is less than one image, or a class would keep no image.
    """
    count = round(size * total) if size < 1 else int(size)
    if 0 < size < 1 and count == 0:
        raise UsageError(f"{key} must hold out at least 1 of {total} images, got {size}; use a larger share, or 0")
    return stratified(labels_n, count, seed=seed, key=key)


def fold_sizes(sizes_k: Sequence[int] | Indices, folds: int, fold: int) -> Indices:
    """Return how many images each class gives to a fold in `fold_of`.

    Args:
        sizes_k: The number of images of each class.
        folds: As in `fold_of`.
        fold: As in `fold_of`.
    """
    ends_k = np.cumsum(np.asarray(sizes_k, np.int64))
    starts_k = ends_k - sizes_k
    return (ends_k - fold + folds - 1) // folds - (starts_k - fold + folds - 1) // folds


def fold_of(
    labels_n: Indices, folds: int, fold: int, *, seed: int | Sequence[int], key: str = "data.folds"
) -> tuple[Indices, Indices]:
    """Take one of several stratified folds out of a set. The folds are disjoint, and together the whole set.

    The images are ordered by class and, within a class, by the words of `stratified`. Image number n of this order is
    in the fold n modulo `folds`. So the folds' sizes differ by one image at most, and so do the parts of a class.

    Args:
        labels_n: The class of each image.
        folds: At least 2.
        fold: In [0, folds).
        seed: As in `stratified`.
        key: The configuration key that sets `folds`, for the error message.

    Returns:
        The indices that stay and the indices of the fold, both rising.

    Raises:
        UsageError: A class has fewer images than there are folds.
    """
    classes, sizes_k = np.unique(labels_n, return_counts=True)
    if len(classes) and sizes_k.min() < folds:
        raise UsageError(
            f"{key} must be at most the images of every class, got {folds}: class number {classes[sizes_k.argmin()]}"
            f" has {sizes_k.min()}; use fewer folds"
        )
    order_n = np.lexsort((np.random.PCG64(seed).random_raw(len(labels_n)), labels_n))
    taken = np.zeros(len(labels_n), dtype=bool)
    taken[order_n[fold::folds]] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def validation(cfg: "HeldOutData", labels_n: Indices, total: int, *, seed: int) -> tuple[Indices, Indices]:
    """Take the validation images out of the training images, as `cfg` has it: a number or share of them, or a fold.

    Args:
        cfg: The configuration.
        labels_n: The class of each training image.
        total: The number of images that a share is of.
        seed: The data set's constant.

    Returns:
        The indices that stay and the indices that are taken, both rising.

    Raises:
        UsageError: As in `hold_out` and `fold_of`.
    """
    own = varied(seed, cfg.split_seed)
    if cfg.folds:
        return fold_of(labels_n, cfg.folds, cfg.fold, seed=own)
    return hold_out(labels_n, cfg.val_size, total, seed=own, key="data.val_size")


def drawn(
    cfg: "OwnImages", split: str, labels_n: Indices, total: int, *, test_seed: int, val_seed: int
) -> tuple[Indices, Indices]:
    """Take the images of a split that a user's own images come without: `data.test_size` of them, or as `validation`.

    Args:
        cfg: The configuration.
        split: test, or val, which is drawn from what the first leaves.
        labels_n: The class of each image that is left.
        total: The number of images that a share is of.
        test_seed: The data set's constant.
        val_seed: The data set's constant.

    Returns:
        The indices that stay and the indices that are taken, both rising.

    Raises:
        UsageError: As in `validation`.
    """
    if split == "test":
        return hold_out(labels_n, cfg.test_size, total, seed=test_seed, key="data.test_size")
    return validation(cfg, labels_n, total, seed=val_seed)


def held_out_sizes(cfg: "HeldOutData", sizes_k: Sequence[int]) -> Indices:
    """Return how many images each class gives in `validation`, for a configuration whose `val_size` is a number.

    Args:
        cfg: The configuration.
        sizes_k: The number of training images of each class.
    """
    return fold_sizes(sizes_k, cfg.folds, cfg.fold) if cfg.folds else quotas(sizes_k, int(cfg.val_size))
