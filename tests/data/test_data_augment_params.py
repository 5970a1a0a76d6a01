"""Test that random choices are pure functions of seed, epoch and index, independent for each purpose."""

import numpy as np
import pytest
from noise import EVERYTHING

from imgrec.config.augment import Augment
from imgrec.data.augment_params import Draws, draw, order
from imgrec.errors import UsageError


def fields(draws: Draws) -> dict[str, np.ndarray]:
    return {name: table for name, table in vars(draws).items() if table is not None}


def test_draws_are_pure_functions_of_seed_and_epoch() -> None:
    one, again = (fields(draw(EVERYTHING, 500, seed=3, epoch=2)) for _ in range(2))
    assert len(one) == 8
    assert all(np.array_equal(one[name], again[name]) for name in one)
    for seed, epoch in ((4, 2), (3, 1), (2, 3)):
        other = fields(draw(EVERYTHING, 500, seed=seed, epoch=epoch))
        assert not any(np.array_equal(one[name], other[name]) for name in one)


def test_a_purpose_leaves_the_others_as_they_are() -> None:
    alone = draw(Augment(name="flip", flip=True), 500, seed=3, epoch=2)
    assert list(fields(alone)) == ["flip_n"]
    assert np.array_equal(alone.flip_n, draw(EVERYTHING, 500, seed=3, epoch=2).flip_n)


def test_alternating_flips_show_every_image_both_ways_in_any_two_epochs() -> None:
    cfg = Augment(name="flip", flip=True, flip_rule="alternating")
    first, second, third = (draw(cfg, 500, seed=3, epoch=epoch).flip_n for epoch in range(3))
    assert np.array_equal(second, ~first)
    assert np.array_equal(third, first)
    assert np.array_equal(first, draw(EVERYTHING, 500, seed=3, epoch=0).flip_n)


def test_draws_lie_in_their_ranges() -> None:
    draws = draw(EVERYTHING, 20_000, seed=0, epoch=0)
    assert set(np.unique(draws.shift_n2)) == set(range(9))
    assert draws.flip_n.mean() == pytest.approx(0.5, abs=0.02)
    assert (draws.partner_n != np.arange(20_000)).all()
    assert (np.bincount(draws.partner_n, minlength=20_000) < 12).all()
    assert draws.share_n.mean() == pytest.approx(0.5, abs=0.02)  # Beta(1, 1) is uniform: variance 1/12
    assert draws.share_n.var() == pytest.approx(1 / 12, abs=0.005)
    for table in (draws.cutout_n2, draws.box_n2, draws.share_n):
        assert table.min() >= 0
        assert table.max() < 1


def test_alpha_shapes_the_share() -> None:
    draws = draw(Augment(name="mixup", mix="mixup", mix_alpha=0.2), 20_000, seed=0, epoch=0)
    assert draws.share_n.var() == pytest.approx(0.25 / 1.4, abs=0.005)  # Beta(a, a): 1 / (4 (2 a + 1))


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_images_that_are_not_mixed_keep_all_of_themselves(mix: str) -> None:
    always = draw(Augment(name="all", mix=mix), 20_000, seed=0, epoch=0)
    some = draw(Augment(name="some", mix=mix, mix_probability=0.3), 20_000, seed=0, epoch=0)
    mixed_n = some.share_n != 1
    assert mixed_n.mean() == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(some.share_n[mixed_n], always.share_n[mixed_n]), "the others' draws stay"
    assert np.array_equal(some.partner_n, always.partner_n)


def test_rows_are_those_of_the_images() -> None:
    draws = draw(EVERYTHING, 50, seed=0, epoch=0)
    rows = draws.rows(np.array([7, 3, 7]))
    assert np.array_equal(rows.shift_n2, draws.shift_n2[[7, 3, 7]])
    assert rows.policy_n.tolist() == draws.policy_n[[7, 3, 7]].tolist()


def test_order_is_a_permutation_of_its_own_each_epoch() -> None:
    first, second = (order(1000, seed=5, epoch=epoch) for epoch in (0, 1))
    assert sorted(first) == list(range(1000))
    assert np.array_equal(first, order(1000, seed=5, epoch=0))
    assert (first != second).mean() > 0.9


def test_mixing_one_image_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"augment.mix=mixup needs at least 2 training images, got 1; use augment.mix=n"
    ):
        draw(Augment(name="mixup", mix="mixup"), 1, seed=0, epoch=0)
