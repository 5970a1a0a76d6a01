"""Every random choice about training images: pure functions of (seed, pass, index).

A pass visits every image of the training set once (`epoch_table`: which pass an epoch makes). For each purpose a pass
draws one row for every image. So neither the batch size, nor the number of workers or devices, nor an interruption
changes what happens to an image, and one purpose switched on or off leaves the others' draws as they were.
"""

# N images of the training set

import dataclasses
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgrec.config.augment import Augment
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
    """What a pass draws for each image; None where the augmentation asks for none."""

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
            field.name: column[indices]
            for field in dataclasses.fields(self)
            if (column := getattr(self, field.name)) is not None
        }
        return Draws(**taken)


def order(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which a pass, numbered `epoch`, visits `count` images: int64 (N,), a permutation."""
    return _generator(seed, epoch, _Purpose.ORDER).permutation(count)


def draw(cfg: Augment, count: int, *, seed: int, epoch: int) -> Draws:
    """The draws of one pass, numbered `epoch`, for a training set of `count` images.

    Raises UsageError when images shall be mixed and there is only one.
    """
    if cfg.mix != "none" and count < 2:
        raise UsageError(f"augment.mix={cfg.mix} needs at least 2 training images, got {count}; use augment.mix=none")

    def generator(purpose: _Purpose) -> np.random.Generator:
        return _generator(seed, epoch, purpose)

    columns: dict[str, Any] = {}
    if cfg.policy != "none":
        columns["policy_n"] = generator(_Purpose.POLICY).integers(0, 2**63 - 1, size=count)
    if cfg.crop_padding:
        columns["shift_n2"] = generator(_Purpose.CROP).integers(0, 2 * cfg.crop_padding, size=(count, 2), endpoint=True)
    if cfg.flip:
        columns["flip_n"] = _flips(cfg, count, seed=seed, epoch=epoch)
    if cfg.brightness or cfg.contrast:
        columns["light_n2"] = _light(cfg, generator(_Purpose.LIGHT).uniform(-1, 1, size=(count, 2)))
    if cfg.cutout_size:
        columns["cutout_n2"] = generator(_Purpose.CUTOUT).random((count, 2))
    if cfg.mix != "none":
        # a step of 1 to N - 1 around the circle of images: any other image, each as likely
        steps_n = generator(_Purpose.PARTNER).integers(1, count, size=count)
        columns["partner_n"] = (np.arange(count) + steps_n) % count
        columns["share_n"] = generator(_Purpose.SHARE).beta(cfg.mix_alpha, cfg.mix_alpha, size=count)
        if cfg.mix_probability < 1:
            columns["share_n"][generator(_Purpose.MIXED).random(count) >= cfg.mix_probability] = 1
    if cfg.mix == "cutmix":
        columns["box_n2"] = generator(_Purpose.BOX).random((count, 2))
    return Draws(**columns)


def _flips(cfg: Augment, count: int, *, seed: int, epoch: int) -> NDArray[np.bool_]:
    """Which images to mirror.

    Alternating, every image is shown both ways in any two epochs that follow each other (Jordan 2024, arXiv 2404.00498,
    section 3.6): in few epochs, none is left that was seen one way only.
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
