"""Simulate runs of settings on common test images, with the true values that their tables estimate."""

# R repetitions, S runs of a setting, N images

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    """A run is right about an image where a sum of normal draws is above 0 (a probit model with crossed effects).

    accuracy: of both settings on all images that there are, over all seeds. difficulty: deviation of the images' own,
    shared by all runs. taste: of what a setting finds hard by itself. seed: of the runs' own quality, of which the
    share `shared` belongs to the seed's number, whatever the setting. What is left, of deviation 1, belongs to one run
    and one image.
    """

    accuracy: float
    difficulty: float
    taste: float
    seed: float
    shared: float = 0.0
    images: int = 1000


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """correct: bool (settings, S, N). on_these_images: each setting's accuracy on the N images over all seeds.
    of_these_runs: of each run on all images, (settings, S).
    """

    correct: NDArray[np.bool_]
    on_these_images: tuple[float, ...]
    of_these_runs: Floats


def draw(world: World, runs: int, repetitions: int, seed: int = 0, *, settings: int = 2) -> Iterator[Drawn]:
    """New images and new runs of equal settings, again and again."""
    random = np.random.default_rng(seed)
    whole = np.sqrt(1 + world.difficulty**2 + world.taste**2 + world.seed**2)
    level = ndtri(world.accuracy) * whole
    for _ in range(repetitions):
        images = random.normal(0, world.difficulty, world.images) + random.normal(
            0, world.taste, (settings, world.images)
        )
        common, own = random.normal(size=runs), random.normal(size=(settings, runs))
        quality = world.seed * (np.sqrt(world.shared) * common + np.sqrt(1 - world.shared) * own)
        rest = random.standard_normal((settings, runs, world.images), dtype=np.float32)
        known = (level + images[:, None, :] + quality[:, :, None]).astype(np.float32)
        on_these = ndtr((level + images) / np.sqrt(1 + world.seed**2)).mean(-1)
        yield Drawn(
            correct=known + rest > 0,
            on_these_images=tuple(map(float, on_these)),
            of_these_runs=ndtr((level + quality) / np.sqrt(1 + world.difficulty**2 + world.taste**2)),
        )
