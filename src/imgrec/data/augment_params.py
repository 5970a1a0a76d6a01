"""Every random choice about training images: pure functions of (seed, pass, index).

A pass visits every image of the training set once, and is an epoch, unless images are left out: then one epoch, which
has as many visits as before, holds the end of a pass and the beginning of the next. For each purpose a pass has one
table with a row for every image; a batch takes the rows of its images. So neither the batch size, nor the number of
workers or devices, nor an interruption changes what happens to an image, and one purpose switched on or off leaves the
others' draws as they were.
"""

# N images of the training set, V visits of an epoch, B images in a batch

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imgrec.config.augment import Augment
from imgrec.data.pruning import Subset
from imgrec.errors import UsageError


class _Purpose(IntEnum):
    """Part of the seed: the numbers must never change."""

    ORDER = 0
    POLICY = 1
    CROP = 2
    FLIP = 3
    CUTOUT = 4
    PARTNER = 5
    SHARE = 6
    BOX = 7
    LIGHT = 8
    MIXED = 9


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What is drawn for each image; None where the augmentation asks for none."""

    policy_n: NDArray[np.int64] | None = None
    """Seeds of the image's policy, in [0, 2^63)."""
    shift_n2: NDArray[np.int64] | None = None
    """Row and column at which the crop begins in the padded image, in [0, 2 * padding]."""
    flip_n: NDArray[np.bool_] | None = None
    light_n2: NDArray[np.float32] | None = None
    """Gain and offset of the image's pixels in [0, 1]: from its contrast and its brightness."""
    cutout_n2: NDArray[np.float64] | None = None
    """The square's centre: row and column as shares of the image's sides, in [0, 1)."""
    partner_n: NDArray[np.int64] | None = None
    """Index of another image to mix with."""
    share_n: NDArray[np.float64] | None = None
    """The image's own share of the mixture, in [0, 1]; 1 for an image that is not mixed."""
    box_n2: NDArray[np.float64] | None = None
    """The centre of CutMix's box, as `cutout_n2`."""

    def rows(self, indices: NDArray[np.int64]) -> "Draws":
        """The draws of these images, in this order."""
        taken: dict[str, Any] = {
            field.name: table[indices]
            for field in dataclasses.fields(self)
            if (table := getattr(self, field.name)) is not None
        }
        return Draws(**taken)

    @classmethod
    def stacked(cls, parts: Sequence["Draws"]) -> Self:
        """One table after the other; all must have been drawn for the same purposes."""
        first = parts[0]
        names = [field.name for field in dataclasses.fields(cls) if getattr(first, field.name) is not None]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An epoch of one device: which images it visits, one after the other, and what is drawn for them."""

    indices_v: NDArray[np.int64]
    rows_v: NDArray[np.int64]
    """Of `draws`, which has N for each pass: the image's own, in the pass that the visit belongs to."""
    draws: Draws


def order(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which a pass, numbered `epoch`, visits `count` images: int64 (N,), a permutation."""
    return _generator(seed, epoch, _Purpose.ORDER).permutation(count)


def plan(
    cfg: Augment, count: int, *, seed: int, epoch: int, rank: int, world_size: int, subset: Subset | None = None
) -> Plan:
    """What device `rank` does in an epoch, with V = ceil(N / world_size) visits, whether images are left out or not.

    Each device takes every `world_size`-th image of all visits. Those are `order`, continued from its beginning until
    they divide evenly; where images are left out, the passes over the others follow each other without a gap.
    Raises UsageError when images shall be mixed and there is only one.
    """
    everyone = -(-count // world_size) * world_size
    if subset is None or subset.since is None or epoch < subset.since:
        visited = np.resize(order(count, seed=seed, epoch=epoch), everyone)
        pass_v = np.zeros_like(visited)
        draws = draw(cfg, count, seed=seed, epoch=epoch)
    else:
        kept = subset.kept
        done, begun = divmod((epoch - subset.since) * everyone, len(kept))
        passes = range(subset.since + done, subset.since + done - (-(begun + everyone) // len(kept)))
        orders = [order(len(kept), seed=seed, epoch=number) for number in passes]
        visited = kept[np.concatenate(orders)[begun : begun + everyone]]
        pass_v = np.arange(begun, begun + everyone) // len(kept)
        draws = Draws.stacked([draw(cfg, count, seed=seed, epoch=number) for number in passes])
    return Plan(indices_v=visited[rank::world_size], rows_v=(pass_v * count + visited)[rank::world_size], draws=draws)


def draw(cfg: Augment, count: int, *, seed: int, epoch: int) -> Draws:
    """The tables of one pass, numbered `epoch`, for a training set of `count` images.

    Raises UsageError when images shall be mixed and there is only one.
    """
    if cfg.mix != "none" and count < 2:
        raise UsageError(f"augment.mix={cfg.mix} needs at least 2 training images, got {count}; use augment.mix=none")

    def table(purpose: _Purpose) -> np.random.Generator:
        return _generator(seed, epoch, purpose)

    tables: dict[str, Any] = {}
    if cfg.policy != "none":
        tables["policy_n"] = table(_Purpose.POLICY).integers(0, 2**63 - 1, size=count)
    if cfg.crop_padding:
        tables["shift_n2"] = table(_Purpose.CROP).integers(0, 2 * cfg.crop_padding, size=(count, 2), endpoint=True)
    if cfg.flip:
        tables["flip_n"] = _flips(cfg, count, seed=seed, epoch=epoch)
    if cfg.brightness or cfg.contrast:
        tables["light_n2"] = _light(cfg, table(_Purpose.LIGHT).uniform(-1, 1, size=(count, 2)))
    if cfg.cutout_size:
        tables["cutout_n2"] = table(_Purpose.CUTOUT).random((count, 2))
    if cfg.mix != "none":
        # a step of 1 to N - 1 around the circle of images: any other image, each as likely
        steps_n = table(_Purpose.PARTNER).integers(1, count, size=count)
        tables["partner_n"] = (np.arange(count) + steps_n) % count
        tables["share_n"] = table(_Purpose.SHARE).beta(cfg.mix_alpha, cfg.mix_alpha, size=count)
        if cfg.mix_probability < 1:
            tables["share_n"][table(_Purpose.MIXED).random(count) >= cfg.mix_probability] = 1
    if cfg.mix == "cutmix":
        tables["box_n2"] = table(_Purpose.BOX).random((count, 2))
    return Draws(**tables)


def _flips(cfg: Augment, count: int, *, seed: int, epoch: int) -> NDArray[np.bool_]:
    """Which images to mirror. Alternating, every image is shown both ways in any two epochs that follow each other
    (Jordan 2024, arXiv 2404.00498, section 3.6): in few epochs, none is left that was seen one way only.
    """
    drawn_in = epoch if cfg.flip_rule == "random" else 0
    flip_n = _generator(seed, drawn_in, _Purpose.FLIP).integers(0, 2, size=count).astype(bool)
    return ~flip_n if cfg.flip_rule == "alternating" and epoch % 2 else flip_n


def _light(cfg: Augment, drawn_n2: NDArray[np.float64]) -> NDArray[np.float32]:
    """Gain and offset of x -> 0.5 + (x - 0.5 + brightness) * (1 + contrast); float32, the same number on any device."""
    gain_n = 1 + cfg.contrast * drawn_n2[:, 0]
    offset_n = 0.5 + (cfg.brightness * drawn_n2[:, 1] - 0.5) * gain_n
    return np.stack([gain_n, offset_n], axis=1).astype(np.float32)


def _generator(seed: int, epoch: int, purpose: _Purpose) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, int(purpose)])))
