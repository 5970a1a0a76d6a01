"""Test which images are the easiest, and which images an epoch visits without them."""

import math

import numpy as np
import pytest
import torch
from noise import EVERYTHING

from imgrec.config.augment import Augment
from imgrec.data.augment_params import draw, order
from imgrec.data.epoch_table import EpochTable, box_edges, epoch_table
from imgrec.data.loader import train_loader
from imgrec.data.pruning import Subset, all_but_easiest
from imgrec.data.source import MemoryImages
from imgrec.data.visits import Visits, visits

COUNT = 50
CROP_FLIP = Augment(name="crop_flip", crop_padding=2, flip=True, flip_rule="alternating")


def subset(kept: list[int] | range, since: int = 2) -> Subset:
    made = Subset(COUNT)
    kept_n = torch.zeros(COUNT, dtype=torch.bool)
    kept_n[list(kept)] = True
    made.keep(kept_n, since=since)
    return made


def visited(epoch: int, *, rank: int = 0, world_size: int = 1, without: Subset | None = None) -> Visits:
    return visits(COUNT, seed=3, epoch=epoch, rank=rank, world_size=world_size, subset=without)


def table_of(its: Visits, cfg: Augment = EVERYTHING) -> EpochTable[np.ndarray]:
    return epoch_table(cfg, np.arange(COUNT), its, seed=3, side=(32, 32))


def passes_of(without: Subset, *, epochs: range, world_size: int = 1) -> list[list[int]]:
    """The images that all devices visit in these epochs, one visit after the other, in passes."""
    indices: list[int] = []
    for epoch in epochs:
        shares = [visited(epoch, rank=rank, world_size=world_size, without=without) for rank in range(world_size)]
        indices += np.stack([its.index_v for its in shares], axis=1).flatten().tolist()
    size = len(without.kept)
    return [indices[start : start + size] for start in range(0, len(indices), size)]


@pytest.mark.parametrize(
    ("share", "left_out"), [(0.0, []), (0.19, []), (0.2, [3]), (0.4, [3, 1]), (0.6, [3, 1, 2]), (0.9, [0, 3, 1, 2])]
)
def test_the_smallest_losses_are_left_out(share: float, left_out: list[int]) -> None:
    kept = all_but_easiest(torch.tensor([0.9, 0.2, 0.3, 0.1, math.inf]), share, seed=0)
    assert sorted(left_out) == (~kept).nonzero().flatten().tolist()


def test_shares_are_exact() -> None:
    assert int(all_but_easiest(torch.rand(100), 0.29, seed=0).sum()) == 71  # 0.29 * 100 is 28.99... in floating point


def test_which_of_equal_losses_goes_is_drawn() -> None:
    kept = [all_but_easiest(torch.zeros(1000), 0.5, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])
    assert 200 < int(kept[0][:500].sum()) < 300


def test_until_images_are_left_out_a_subset_changes_nothing() -> None:
    for without in (Subset(COUNT), subset(range(5), since=3)):
        with_all, plain = visited(2, without=without), visited(2)
        assert np.array_equal(with_all.index_v, order(COUNT, seed=3, epoch=2))
        assert np.array_equal(with_all.index_v, plain.index_v)
        assert np.array_equal(with_all.pass_v, plain.pass_v)
        drawn = draw(EVERYTHING, COUNT, seed=3, epoch=2).rows(plain.index_v)
        own = table_of(with_all).own
        assert np.array_equal(own.index_v, plain.index_v)
        assert np.array_equal(own.label_v, plain.index_v)
        assert np.array_equal(own.policy_v, drawn.policy_n)
        assert np.array_equal(own.shift_v2, drawn.shift_n2)
        assert np.array_equal(own.flip_v, drawn.flip_n)
        assert np.array_equal(own.light_v2, drawn.light_n2)
        assert np.array_equal(own.cutout_v22, box_edges(drawn.cutout_n2, 16, side=(32, 32)))
        mixing, plainly = table_of(with_all).mixing, table_of(plain).mixing
        assert np.array_equal(mixing.partners.index_v, drawn.partner_n)
        assert np.array_equal(mixing.box_v22, plainly.box_v22)
        assert np.array_equal(mixing.probability_v2, plainly.probability_v2)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("kept", [range(0, 50, 2), range(13), [7], range(50)], ids=len)
def test_then_epochs_have_as_many_visits_as_before_in_passes_over_the_rest(
    kept: list[int] | range, world_size: int
) -> None:
    without = subset(kept)
    everyone = -(-COUNT // world_size) * world_size
    assert len(visited(2, world_size=world_size, without=without).index_v) == everyone // world_size
    *whole, last = passes_of(without, epochs=range(2, 6), world_size=world_size)
    assert whole
    assert all(sorted(visited) == list(kept) for visited in whole)
    assert len(set(last)) == len(last)
    assert len(kept) < 3 or whole[0] != whole[1], "every pass has an order of its own"


def test_an_image_that_comes_twice_in_an_epoch_is_drawn_for_twice() -> None:
    without = subset(range(20))
    found = visited(2, without=without)
    table = table_of(found)
    first, second = (np.flatnonzero(found.index_v == 7)[k] for k in (0, 1))
    assert not np.array_equal(table.own.light_v2[first], table.own.light_v2[second])
    assert table.mixing.partners.index_v[first] != table.mixing.partners.index_v[second]
    assert np.array_equal(table.own.index_v, found.index_v)
    for epoch, its in ((2, first), (3, second)):  # a pass is drawn for as an epoch is
        assert found.pass_v[its] == epoch
        drawn = draw(EVERYTHING, COUNT, seed=3, epoch=epoch)
        partner = drawn.partner_n[7]
        assert np.array_equal(table.own.light_v2[its], drawn.light_n2[7])
        assert np.array_equal(table.own.cutout_v22[[its]], box_edges(drawn.cutout_n2[[7]], 16, side=(32, 32)))
        assert table.mixing.partners.index_v[its] == partner
        assert np.array_equal(table.mixing.partners.light_v2[its], drawn.light_n2[partner])


def test_alternating_flips_alternate_from_pass_to_pass() -> None:
    found = visited(2, without=subset(range(25)))
    flips = table_of(found, CROP_FLIP).own.flip_v
    in_order = [flips[half][np.argsort(found.index_v[half])] for half in (slice(25), slice(25, None))]
    assert np.array_equal(in_order[0], ~in_order[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_follows_its_subset_from_the_next_epoch_on(workers: int) -> None:
    pixels = torch.arange(COUNT, dtype=torch.uint8)[:, None, None, None].expand(COUNT, 1, 8, 8)
    images, without = MemoryImages(pixels, torch.arange(COUNT)), Subset(COUNT)
    loader = train_loader(
        images, augment=CROP_FLIP, num_classes=COUNT, batch_size=8, seed=0, num_workers=workers, subset=without
    )
    assert {int(target) for _, targets in loader for target in targets} == set(range(COUNT))
    kept_n = torch.arange(COUNT) >= 35
    without.keep(kept_n, since=1)
    loader.sampler.set_epoch(1)
    batches = list(loader)
    assert [len(targets) for _, targets in batches] == [8] * 6 + [2]
    visited = torch.cat([targets for _, targets in batches])
    assert visited.unique().tolist() == list(range(35, 50))
    asked = [index for number in range(7) for index in loader.dataset.indices(1, number)]
    assert asked == visited.tolist()


@pytest.mark.parametrize("kept", [torch.ones(3, dtype=torch.bool), torch.zeros(COUNT, dtype=torch.bool)])
def test_a_subset_keeps_some_of_its_own_images(kept: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="a subset of 50 images keeps some of these"):
        Subset(COUNT).keep(kept, since=1)
