"""Draw every random choice about training images, as pure functions of (seed, pass, index).

A pass visits every image of the training set once (`epoch_table` says which pass an epoch belongs to). For each purpose
a pass draws one row for every image. So what happens to an image does not depend on the batch size, on the number of
workers or devices, or on an interruption. Switching one purpose on or off does not change the draws of the others.
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

# Zhong et al. 2020, section 4: shares of the area, and height by width, of the rectangle that is erased
_ERASED, _ASPECT = (0.02, 0.4), (0.3, 1 / 0.3)
_ATTEMPTS = 10  # at a rectangle that is smaller than the image, as many as torchvision makes


class _Purpose(IntEnum):
    """The purposes of draws. The numbers are part of the seed and must never change."""

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
    CLASS_ORDER = 10
    ERASE = 11
    ERASE_SIZE = 12
    ERASE_PLACE = 13
    SWITCH = 14
    CUT_SHARE = 15


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The draws of a pass, one row for each image; None where the augmentation needs none."""

    policy_n: NDArray[np.int64] | None = None
    """Seed of the image's policy, in [0, 2^63)."""
    shift_n2: NDArray[np.int64] | None = None
    """Row and column of the crop's corner in the padded image, in [0, 2 * padding]."""
    flip_n: NDArray[np.bool_] | None = None
    light_n2: NDArray[np.float32] | None = None
    """Gain and offset of the image's pixels in [0, 1], from its contrast and its brightness."""
    cutout_n2: NDArray[np.float64] | None = None
    """Centre of the square: row and column as shares of the image's sides, in [0, 1)."""
    erased_n: NDArray[np.bool_] | None = None
    erase_size_na2: NDArray[np.float64] | None = None
    """Attempts at a rectangle: its share of the area, and its height by its width."""
    erase_place_n2: NDArray[np.float64] | None = None
    """Where the rectangle begins: row and column as shares of what is left of the sides, in [0, 1)."""
    partner_n: NDArray[np.int64] | None = None
    """Index of the other image to mix with."""
    share_n: NDArray[np.float64] | None = None
    """The image's own share of the mixture, in [0, 1]; 1 for an image that is not mixed."""
    box_n2: NDArray[np.float64] | None = None
    """Centre of CutMix's box, as in `cutout_n2`."""
    cut_n: NDArray[np.bool_] | None = None
    """True for an image into which a box is pasted, where others are blended."""

    def rows(self, indices: NDArray[np.int64]) -> "Draws":
        """Return the draws of these images, in this order."""
        taken: dict[str, Any] = {
            field.name: column[indices]
            for field in dataclasses.fields(self)
            if (column := getattr(self, field.name)) is not None
        }
        return Draws(**taken)


def order(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which pass `epoch` visits `count` images: int64 (N,), a permutation."""
    return _generator(seed, epoch, _Purpose.ORDER).permutation(count)


def class_order(count: int, *, seed: int, label: int, number: int) -> NDArray[np.int64]:
    """Return the order in which pass `number` over a class visits its `count` images: int64, a permutation."""
    return _generator(seed, number, _Purpose.CLASS_ORDER, label).permutation(count)


def draw(cfg: Augment, count: int, *, seed: int, epoch: int) -> Draws:
    """Return the draws of pass `epoch` for a training set of `count` images.

    Raises:
        UsageError: Images are to be mixed and there is only one.
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
    if cfg.erase_probability:
        columns["erased_n"] = generator(_Purpose.ERASE).random(count) < cfg.erase_probability
        least, most = np.array([_ERASED[0], _ASPECT[0]]), np.array([_ERASED[1], _ASPECT[1]])
        columns["erase_size_na2"] = generator(_Purpose.ERASE_SIZE).uniform(least, most, size=(count, _ATTEMPTS, 2))
        columns["erase_place_n2"] = generator(_Purpose.ERASE_PLACE).random((count, 2))
    if cfg.mix != "none":
        # adding 1 to N - 1 modulo N reaches every other image with the same probability
        steps_n = generator(_Purpose.PARTNER).integers(1, count, size=count)
        columns["partner_n"] = (np.arange(count) + steps_n) % count
        columns["share_n"] = generator(_Purpose.SHARE).beta(cfg.mix_alpha, cfg.mix_alpha, size=count)
        if cfg.mix == "mixup_cutmix":
            cut_n = columns["cut_n"] = generator(_Purpose.SWITCH).random(count) < cfg.mix_switch
            share_n = generator(_Purpose.CUT_SHARE).beta(cfg.cutmix_alpha, cfg.cutmix_alpha, size=count)
            columns["share_n"] = np.where(cut_n, share_n, columns["share_n"])
        if cfg.mix_probability < 1:
            columns["share_n"][generator(_Purpose.MIXED).random(count) >= cfg.mix_probability] = 1
    if cfg.mix in ("cutmix", "mixup_cutmix"):
        columns["box_n2"] = generator(_Purpose.BOX).random((count, 2))
    return Draws(**columns)


def _flips(cfg: Augment, count: int, *, seed: int, epoch: int) -> NDArray[np.bool_]:
    """Return which images to mirror.

    With the alternating rule, every image is shown both ways in any two consecutive epochs (Jordan 2024, arXiv
    2404.00498, section 3.6). So even in few epochs every image is seen both ways.
    """
    drawn_in = epoch if cfg.flip_rule == "random" else 0
    flip_n = _generator(seed, drawn_in, _Purpose.FLIP).integers(0, 2, size=count).astype(bool)
    return ~flip_n if cfg.flip_rule == "alternating" and epoch % 2 else flip_n


def _light(cfg: Augment, drawn_n2: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return gain and offset of x -> 0.5 + (x - 0.5 + brightness) * (1 + contrast).

    They are float32, so that every device uses the same numbers.
    """
    gain_n = 1 + cfg.contrast * drawn_n2[:, 0]
    offset_n = 0.5 + (cfg.brightness * drawn_n2[:, 1] - 0.5) * gain_n
    return np.stack([gain_n, offset_n], axis=1).astype(np.float32)


def _generator(seed: int, epoch: int, purpose: _Purpose, *more: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, int(purpose), *more])))
