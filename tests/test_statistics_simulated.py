"""Test in simulation that intervals cover as often as tables say, and p values are wrong as seldom.

With seeds alone, the truth is that of these images, over all seeds. With seeds and images, it is that of all images and
all seeds.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from crossed import World, draw

from imgrec.statistics import (
    LEVEL,
    Comparison,
    contrast,
    difference_over_both,
    interaction,
    interaction_over_both,
    interval_over_both,
    summarise,
)

SAME = World(accuracy=0.85, difficulty=2.5, taste=0.0, seed=0.05)  # equal on each image
TASTES = World(accuracy=0.85, difficulty=2.5, taste=1.0, seed=0.02)  # equal on the population, not on these images
SPREAD = World(accuracy=0.85, difficulty=2.5, taste=1.0, seed=0.3, shared=0.5)  # seeds that matter, and pair
SLIGHT = World(accuracy=0.85, difficulty=2.5, taste=0.3, seed=0.1)
GOOD = World(accuracy=0.97, difficulty=2.5, taste=0.5, seed=0.05)
SMALL = World(accuracy=0.9, difficulty=2.0, taste=0.5, seed=0.1, images=360)  # as many images as the digits' test set
WORLDS = {"same": SAME, "tastes": TASTES, "spread": SPREAD, "slight": SLIGHT, "good": GOOD, "small": SMALL}


@dataclass
class Rates:
    """How often an interval missed its truth, or a p fell below 5 % without a difference, by what it was."""

    repetitions: int
    missed: Counter[str] = field(default_factory=Counter)

    def of(self, what: str) -> float:
        return self.missed[what] / self.repetitions

    @property
    def margin(self) -> float:
        """Two standard errors of a share of 5 % over the repetitions."""
        return 2 * math.sqrt(LEVEL * (1 - LEVEL) / self.repetitions)


def rates(world: World, runs: int, repetitions: int, *, seed: int = 0) -> Rates:
    found = Rates(repetitions=repetitions)
    for drawn in draw(world, runs, repetitions, seed):
        ours, theirs = drawn.correct
        tops = [[float(top) for top in side.mean(1)] for side in (ours, theirs)]
        here = drawn.on_these_images
        mean = summarise(tops[0], within=(0.0, 1.0))
        both = contrast(dict(enumerate(tops[0])), dict(enumerate(tops[1])))
        assert both is not None
        assert both.paired is not None
        found.missed["mean, these images"] += not _within(here[0], mean.low, mean.high)
        for name, difference in (("paired", both.paired), ("Welch", both.unpaired)):
            found.missed[f"{name}, these images"] += not _within(here[0] - here[1], difference.low, difference.high)
            found.missed[f"p {name}"] += difference.p is not None and difference.p < LEVEL
            wider = difference_over_both(ours, theirs, paired=name == "paired")
            found.missed[f"{name}, new images"] += not _within(0.0, wider.low, wider.high)
            found.missed[f"p {name}, new images"] += wider.p is not None and wider.p < LEVEL
        share = interval_over_both(ours)
        found.missed["mean, new images"] += not share.low <= world.accuracy <= share.high
    return found


def _within(truth: float, low: float | None, high: float | None) -> bool:
    """Whether the interval covers the truth; one that nothing is known of claims nothing."""
    return low is None or high is None or low <= truth <= high


def check_of_seeds(found: Rates, runs: int, *, is_null: bool) -> None:
    """Of these very images, tables say 95 % and 5 %.

    Welch's test of few runs, or of pairs that go together, misses less often; so do two runs that may tie, which have
    no interval.
    """
    for what in ("mean, these images", "paired, these images", *(["p paired"] if is_null else [])):
        assert found.of(what) <= LEVEL + found.margin, what
        assert runs == 2 or found.of(what) >= LEVEL - found.margin, what
    for what in ("Welch, these images", *(["p Welch"] if is_null else [])):
        assert found.of(what) <= LEVEL + found.margin, what


def check_of_both(found: Rates) -> None:
    """Of new images, tables say 94 % or more; p of equal settings is below 5 % in 5 % or less."""
    for what in ("mean", "paired", "Welch", "p paired", "p Welch"):
        assert found.of(f"{what}, new images") <= LEVEL + found.margin, what


@pytest.mark.parametrize("runs", [2, 5])
@pytest.mark.long
def test_intervals_of_these_images_cover_and_err_as_stated(runs: int) -> None:
    check_of_seeds(rates(SAME, runs, 1000), runs, is_null=True)


@pytest.mark.parametrize("runs", [2, 5])
def test_intervals_of_new_images_cover_at_least_as_stated(runs: int) -> None:
    check_of_both(rates(SPREAD, runs, 1000))


@pytest.mark.long
def test_what_seeds_alone_show_is_not_of_new_images() -> None:
    """Two settings that are equal on the population differ on these images, which many seeds show."""
    found = rates(TASTES, 10, 400)
    assert found.of("p paired") > 4 * LEVEL
    check_of_both(found)


@pytest.mark.slow
@pytest.mark.parametrize("runs", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("world", WORLDS)
def test_every_interval_and_p_is_what_tables_say_in_every_world(world: str, runs: int) -> None:
    found = rates(WORLDS[world], runs, 4000, seed=1)
    print({what: found.of(what) for what in sorted(found.missed)})
    check_of_seeds(found, runs, is_null=world == "same")
    check_of_both(found)


@pytest.mark.parametrize(
    ("accuracy", "images", "runs", "repetitions"),
    [
        (0.9943, 360, 10, 800),
        *(
            pytest.param(accuracy, images, runs, 1500, marks=pytest.mark.slow)
            for accuracy, images in ((0.9943, 360), (0.9964, 360), (0.9943, 1000), (0.9943, 3000), (0.9995, 5000))
            for runs in (3, 5, 30)
        ),
    ],
)
def test_the_interval_of_a_mean_covers_new_images_where_few_are_ever_wrong(
    accuracy: float, images: int, runs: int, repetitions: int
) -> None:
    """A hard image that is not among these few does not affect their variance."""
    world = World(accuracy=accuracy, difficulty=3.0, taste=0.0, seed=0.05, images=images)
    found = Rates(repetitions=repetitions)
    for drawn in draw(world, runs, repetitions, seed=1):
        share = interval_over_both(drawn.correct[0])
        found.missed["mean"] += not share.low <= accuracy <= share.high
    print(found.of("mean"))
    assert found.of("mean") <= LEVEL + found.margin


def run_against_run(world: World, repetitions: int) -> Rates:
    """Of two runs, on all images."""
    found = Rates(repetitions=repetitions)
    for drawn in draw(world, 1, repetitions, seed=1):
        ours, theirs = drawn.correct
        truth = float(drawn.of_these_runs[0, 0] - drawn.of_these_runs[1, 0])
        change = difference_over_both(ours, theirs, paired=True)
        found.missed["difference"] += not _within(truth, change.low, change.high)
        found.missed["p"] += change.p is not None and change.p < LEVEL
        share = interval_over_both(ours)
        found.missed["mean"] += not share.low <= drawn.of_these_runs[0, 0] <= share.high
    return found


@pytest.mark.parametrize("images", [360, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.long
def test_a_run_against_a_run_errs_as_seldom_as_stated(images: int) -> None:
    equal = run_against_run(World(accuracy=0.9, difficulty=2.0, taste=0.5, seed=0.0, images=images), 4000)
    assert equal.of("p") <= LEVEL + equal.margin
    unequal = run_against_run(World(accuracy=0.9, difficulty=2.0, taste=0.5, seed=0.3, images=images), 4000)
    for found in (equal, unequal):
        assert found.of("difference") <= LEVEL + found.margin
        assert found.of("mean") <= LEVEL + found.margin


def interaction_rates(world: World, runs: int, repetitions: int, *, shift: int) -> Rates:
    """Of (a - b) - (c - d) for equal settings. shift: how far the seeds of c and d lie from those of a and b."""
    found = Rates(repetitions=repetitions)
    for drawn in draw(world, runs, repetitions, 1, settings=4):
        seeds = [0, 0, shift, shift]
        correct = [
            {start + k: row for k, row in enumerate(own)} for start, own in zip(seeds, drawn.correct, strict=True)
        ]
        a, b, c, d = correct
        tops = [{key: float(row.mean()) for key, row in own.items()} for own in correct]
        contrast_here = interaction((tops[0], tops[1], tops[2], tops[3]), within=(-2.0, 2.0))
        assert contrast_here is not None
        here, wider = contrast_here.shown, interaction_over_both((a, b, c, d))
        one, other, one_there, other_there = drawn.on_these_images
        found.missed["these images"] += not _within(one - other - one_there + other_there, here.low, here.high)
        found.missed["p"] += here.p is not None and here.p < LEVEL
        found.missed["new images"] += not _within(0.0, wider.low, wider.high)
        found.missed["p, new images"] += wider.p is not None and wider.p < LEVEL
    return found


@pytest.mark.parametrize(
    ("runs", "shift", "world", "repetitions"),
    [
        (5, 0, "spread", 600),
        *(
            pytest.param(runs, shift, world, 4000, marks=pytest.mark.slow)
            for runs in (2, 3, 5, 10, 30)
            for shift in (0, 100)
            for world in ("same", "spread", "small")
        ),
    ],
)
def test_an_interaction_errs_as_seldom_as_stated(runs: int, shift: int, world: str, repetitions: int) -> None:
    found = interaction_rates(WORLDS[world], runs, repetitions, shift=shift)
    print({what: found.of(what) for what in sorted(found.missed)})
    for what in ("these images", "new images", "p, new images", *(["p"] if world == "same" else [])):
        assert found.of(what) <= LEVEL + found.margin, what
    if shift == 0 and runs > 2:
        assert found.of("these images") >= LEVEL - found.margin


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize("runs", [2, 3, 5, 10, 30])
def test_of_two_equal_settings_one_is_bold_as_often_as_stated(runs: int, is_paired: bool) -> None:
    repetitions, random = 50_000, np.random.default_rng(1)
    ours_rn, theirs_rn = random.normal(size=(2, repetitions, runs))
    unit = Comparison(std=1.0, is_paired=is_paired)
    least, stated = unit.detectable(runs), unit.p_of_detectable(runs)
    assert least is not None
    assert stated is not None
    squares = (
        (ours_rn - theirs_rn).var(1, ddof=1) if is_paired else (ours_rn.var(1, ddof=1) + theirs_rn.var(1, ddof=1)) / 2
    )
    share = float((np.abs(ours_rn.mean(1) - theirs_rn.mean(1)) >= least * np.sqrt(squares)).mean())
    assert share == pytest.approx(stated, abs=2 * math.sqrt(stated / repetitions))


@pytest.mark.parametrize("df", [1, 4, 29])
def test_the_interval_of_a_deviation_covers_as_often_as_stated(df: int) -> None:
    """The range of seeds needed covers as often, as it increases with the deviation."""
    repetitions, random = 4000, np.random.default_rng(0)
    stds = random.normal(size=(repetitions, df + 1)).std(1, ddof=1)
    ends = [Comparison(std=float(std), is_paired=True, df=df).deviation() for std in stds]
    missed = sum(not each.low <= 1.0 <= each.high for each in ends) / repetitions
    assert missed == pytest.approx(LEVEL, abs=2 * math.sqrt(LEVEL * (1 - LEVEL) / repetitions))
