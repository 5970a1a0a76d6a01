"""Make fixed, stratified splits: the same for every run, seed, machine and version of NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imgrec.errors import UsageError

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
