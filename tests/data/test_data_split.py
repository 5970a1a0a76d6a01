"""Test that splits are disjoint, complete, stratified, and the same in every version."""

import numpy as np
import pytest

from imgrec.data.split import stratified
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
