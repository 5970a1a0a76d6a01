"""Test that splits are disjoint, complete, stratified, and the same in every version."""

import numpy as np
import pytest

from imgrec.data.split import fold_of, fold_sizes, stratified
from imgrec.errors import UsageError

LABELS = np.repeat(np.arange(4), [40, 40, 10, 10])


@pytest.mark.parametrize("size", [0, 1, 7, 20, 50, 90])
def test_parts_are_disjoint_complete_and_as_large_as_asked(size: int) -> None:
    kept, taken = stratified(LABELS, size, seed=1, key="data.val_size")
    assert len(taken) == size
    assert sorted([*kept, *taken]) == list(range(100))
    assert list(kept) == sorted(kept)
    assert list(taken) == sorted(taken)


def test_classes_keep_their_share() -> None:
    _, taken = stratified(LABELS, 20, seed=1, key="data.val_size")
    assert np.bincount(LABELS[taken]).tolist() == [8, 8, 2, 2]


def test_the_largest_remainders_are_served_first() -> None:
    _, taken = stratified(LABELS, 12, seed=1, key="data.val_size")  # shares 4.8, 4.8, 1.2, 1.2
    assert np.bincount(LABELS[taken]).tolist() == [5, 5, 1, 1]


def test_the_split_never_changes() -> None:
    _, taken = stratified(np.repeat(np.arange(2), 8), 4, seed=10, key="data.val_size")
    words = np.random.PCG64(10).random_raw(16)
    assert set(taken) == {*np.argsort(words[:8])[:2], *(8 + np.argsort(words[8:])[:2])}
    assert taken.tolist() == [3, 5, 8, 11]


def test_the_seed_is_what_makes_it() -> None:
    one, again, other = (stratified(LABELS, 20, seed=seed, key="k")[1].tolist() for seed in (1, 1, 2))
    assert one == again != other


def test_refuses_more_than_there_is() -> None:
    with pytest.raises(UsageError, match=r"data.val_size must lie in \[0, 100\] .* got 101; use a smaller one"):
        stratified(LABELS, 101, seed=1, key="data.val_size")


def test_refuses_to_empty_a_class() -> None:
    with pytest.raises(UsageError, match=r"data.test_size must leave at least 1 training image of every class, got 98"):
        stratified(LABELS, 98, seed=1, key="data.test_size")


@pytest.mark.parametrize("folds", [2, 3, 7, 10])
def test_folds_are_disjoint_complete_stratified_and_of_one_size(folds: int) -> None:
    parts = [fold_of(LABELS, folds, fold, seed=1) for fold in range(folds)]
    assert sorted(image for _, fold in parts for image in fold) == list(range(100))
    for number, (kept, fold) in enumerate(parts):
        assert sorted([*kept, *fold]) == list(range(100))
        assert list(fold) == sorted(fold)
        assert abs(len(fold) - 100 / folds) < 1
        sizes_k = np.bincount(LABELS[fold], minlength=4)
        assert np.abs(sizes_k - np.bincount(LABELS) / folds).max() < 1
        assert sizes_k.tolist() == fold_sizes(np.bincount(LABELS), folds, number).tolist()


def test_the_folds_never_change_and_their_seed_makes_them() -> None:
    labels_n = np.repeat(np.arange(2), 5)
    words_n = np.random.PCG64(10).random_raw(10)
    order = [*np.argsort(words_n[:5]), *(5 + np.argsort(words_n[5:]))]
    _, fold = fold_of(labels_n, 3, 1, seed=10)
    assert fold.tolist() == sorted(order[1::3]) == [0, 1, 6]
    assert fold_of(labels_n, 3, 1, seed=11)[1].tolist() != fold.tolist()


def test_refuses_more_folds_than_a_class_has_images() -> None:
    with pytest.raises(
        UsageError, match=r"data.folds must be at most the images of every class, got 11: class number 2 has 10; use"
    ):
        fold_of(LABELS, 11, 0, seed=1)
