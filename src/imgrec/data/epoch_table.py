"""Make the table of what one device does in an epoch: which images it visits, and how each is transformed.

The table has a row for each visit, and is made in NumPy from `augment_params`. Two modules apply it, `augment` in NumPy
and `resident` in torch. Neither computes anything about an image that is not in the table.
"""

# N images of the training set, V visits of a device in an epoch, B of them in a batch

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from imgrec.config.augment import Augment
from imgrec.data.augment_params import Draws, draw
from imgrec.data.visits import Visits

Array = NDArray[Any]
Column = TypeVar("Column")  # a table's column: NumPy's array, or torch's tensor


@dataclass(frozen=True, kw_only=True)
class Table(Generic[Column]):
    """Columns with a row for each visit, or tables of such columns; None where the augmentation needs none."""

    def each(self, change: Callable[[Column], Any]) -> Any:
        """Return the table with `change` applied to each column."""
        return type(self)(
            **{
                name: None if column is None else column.each(change) if isinstance(column, Table) else change(column)
                for name, column in vars(self).items()
            }
        )

    def rows(self, which: slice | NDArray[np.int64]) -> Self:
        """Return the table with only these rows."""
        made: Self = self.each(lambda column: column[which])  # type: ignore[index]
        return made


@dataclass(frozen=True, kw_only=True)
class Transforms(Table[Column]):
    """How each image is transformed, in the order of the fields."""

    index_v: Column
    """int64: which image it is, in [0, N)."""
    label_v: Column
    """int64: its class."""
    policy_v: Column | None
    """int64: the seed of its policy."""
    shift_v2: Column | None
    """int32: row and column at which the crop begins in the padded image, in [0, 2 * padding]."""
    flip_v: Column | None
    """bool: whether it is mirrored left to right."""
    light_v2: Column | None
    """float32: gain and offset of its pixels in [0, 1]."""
    cutout_v22: Column | None
    """int32: `box_edges` of the grey square."""
    erased_v22: Column | None
    """int32: the edges of the grey rectangle, as in `box_edges`; nothing lies between those of an image without one."""


@dataclass(frozen=True, kw_only=True)
class Mixing(Table[Column]):
    """How each image is mixed with another one, its partner."""

    partners: Transforms[Column]
    share_v: Column | None
    """float32: the image's own share in mixup, in [0, 1]; 1 for an image into which a box is pasted."""
    box_v22: Column | None
    """int32: `box_edges` of the part of the partner that CutMix pastes; of no part for an image that is blended."""
    probability_v2: Column
    """float32: `probabilities` of the image's own class, and of its partner's."""


@dataclass(frozen=True, kw_only=True)
class EpochTable(Table[Column]):
    """The transforms and the mixing of an epoch."""

    own: Transforms[Column]
    mixing: Mixing[Column] | None


def epoch_table(
    cfg: Augment,
    labels_n: NDArray[np.int64],
    visited: Visits,
    *,
    seed: int,
    side: tuple[int, int],
    standing_n: NDArray[np.int64] | None = None,
) -> EpochTable[Array]:
    """Return the table of an epoch with these visits.

    Args:
        cfg: The augmentation.
        labels_n: The class of each image of the training set.
        visited: The visits.
        seed: The run's seed.
        side: (H,W) of every image.
        standing_n: The image in each place, where visits are of places (`balanced.standing`). Each place then has draws
            of its own, and so has each visit of an image that stands in several.

    Raises:
        UsageError: Images are to be mixed and there is only one.
    """
    parts = []
    if standing_n is not None:
        labels_n = labels_n[standing_n]
    for number, index_v in visited.passes():
        draws = draw(cfg, len(labels_n), seed=seed, epoch=number)
        parts.append(_of_pass(cfg, draws, index_v, labels_n, side=side))
    table: EpochTable[Array] = _stacked(parts)
    return table if standing_n is None else _of_images(table, standing_n)


def _of_images(table: EpochTable[Array], standing_n: NDArray[np.int64]) -> EpochTable[Array]:
    """Return the table of places as one of the images that stand in them."""

    def named(its: Transforms[Array]) -> Transforms[Array]:
        return dataclasses.replace(its, index_v=standing_n[its.index_v])

    mixing = table.mixing
    if mixing is not None:
        mixing = dataclasses.replace(mixing, partners=named(mixing.partners))
    return EpochTable(own=named(table.own), mixing=mixing)


def _of_pass(
    cfg: Augment, draws: Draws, index_v: NDArray[np.int64], labels_n: NDArray[np.int64], *, side: tuple[int, int]
) -> EpochTable[Array]:
    """Return the table's rows for these images of one pass."""
    drawn = draws.rows(index_v)
    own = transforms(cfg, drawn, index_v, labels_n, side=side)
    if drawn.partner_n is None or drawn.share_n is None:
        return EpochTable(own=own, mixing=None)
    partners = transforms(cfg, draws.rows(drawn.partner_n), drawn.partner_n, labels_n, side=side)
    kept_v, share_v, box_v22 = drawn.share_n, None, None
    if drawn.box_n2 is None:
        share_v = drawn.share_n.astype(np.float32)
    elif drawn.cut_n is None:
        box_v22, kept_v = cutmix_boxes(drawn.share_n, drawn.box_n2, side=side)
    else:
        box_v22, kept_v = cutmix_boxes(np.where(drawn.cut_n, drawn.share_n, 1), drawn.box_n2, side=side)
        share_v = np.where(drawn.cut_n, 1, drawn.share_n).astype(np.float32)
        kept_v = np.where(drawn.cut_n, kept_v, drawn.share_n)
    probability_v2 = probabilities(kept_v, own.label_v == partners.label_v)
    mixing = Mixing(partners=partners, share_v=share_v, box_v22=box_v22, probability_v2=probability_v2)
    return EpochTable(own=own, mixing=mixing)


def transforms(
    cfg: Augment, drawn: Draws, index_v: NDArray[np.int64], labels_n: NDArray[np.int64], *, side: tuple[int, int]
) -> Transforms[Array]:
    """Return how these images are transformed.

    Args:
        cfg: The augmentation.
        drawn: Row v belongs to image `index_v[v]`.
        index_v: The images.
        labels_n: The class of each image of the training set.
        side: (H,W) of every image.
    """
    cutout_v22 = None
    if drawn.cutout_n2 is not None:
        cutout_v22 = box_edges(drawn.cutout_n2, cfg.cutout_size, side=side)
    return Transforms(
        index_v=index_v,
        label_v=labels_n[index_v],
        policy_v=drawn.policy_n,
        shift_v2=None if drawn.shift_n2 is None else drawn.shift_n2.astype(np.int32),
        flip_v=drawn.flip_n,
        light_v2=drawn.light_n2,
        cutout_v22=cutout_v22,
        erased_v22=_erased(drawn, side=side),
    )


def _erased(drawn: Draws, *, side: tuple[int, int]) -> NDArray[np.int32] | None:
    """Return the edges of each image's erased rectangle: int32 (V,2,2); None where none is erased.

    The first attempt that is smaller than the image lies anywhere inside it with the same probability (Zhong et al.
    2020, their code).
    """
    if drawn.erased_n is None or drawn.erase_size_na2 is None or drawn.erase_place_n2 is None:
        return None
    area_na, aspect_na = np.moveaxis(drawn.erase_size_na2, 2, 0)
    area_na = area_na * side[0] * side[1]
    size_na2 = np.stack([np.sqrt(area_na * aspect_na), np.sqrt(area_na / aspect_na)], axis=2).round().astype(np.int64)
    fits_na = np.all(size_na2 < np.array(side), axis=2)
    size_n2 = size_na2[np.arange(len(fits_na)), fits_na.argmax(axis=1)]
    size_n2[~(fits_na.any(axis=1) & drawn.erased_n)] = 0
    start_n2 = (drawn.erase_place_n2 * (np.array(side) - size_n2 + 1)).astype(np.int64)
    return np.stack([start_n2, start_n2 + size_n2], axis=1).astype(np.int32)


def box_edges(
    centre_v2: NDArray[np.float64], size: NDArray[np.int64] | int, *, side: tuple[int, int]
) -> NDArray[np.int32]:
    """Return the part of each box that lies in the image: int32 (V,2,2), in [0, side].

    The values are the first row and column inside the box, then the first row and column after it. The centre may be
    any pixel, and the part of a box beyond a border is cut off (DeVries & Taylor 2017, section 3.2; Yun et al. 2019,
    their code).

    Args:
        centre_v2: Row and column as shares of the sides, in [0, 1).
        size: Rows and columns of each whole box, (V,2), or one number for all.
        side: (H,W) of the images.
    """
    start_v2 = (centre_v2 * side).astype(np.int64) - size // 2
    return np.stack([start_v2, start_v2 + size], axis=1).clip(0, side).astype(np.int32)


def cutmix_boxes(
    share_v: NDArray[np.float64], centre_v2: NDArray[np.float64], *, side: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the boxes that CutMix pastes (Yun et al. 2019, section 3.1).

    Args:
        share_v: The share of its area that the image should keep: the box's sides are sqrt(1 - share) of the image's.
        centre_v2: The boxes' centres, as in `box_edges`.
        side: (H,W) of the images.

    Returns:
        `box_edges`, and the shares (V,) that the images actually keep, which the targets must use.
    """
    size_v2 = (np.sqrt(1 - share_v)[:, None] * np.array(side)).astype(np.int64)
    edges_v22 = box_edges(centre_v2, size_v2, side=side)
    pasted_v = np.diff(edges_v22, axis=1).prod(axis=(1, 2))
    return edges_v22, 1 - pasted_v / (side[0] * side[1])


def probabilities(share_v: NDArray[np.float64], same_v: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the target probabilities of an image's own class and of its partner's: float32 (V,2).

    Args:
        share_v: The image's share of the mixture.
        same_v: True where both classes are the same, whose probability is then 1.
    """
    own_v = np.where(same_v, 1, share_v)
    return np.stack([own_v, 1 - own_v], axis=1).astype(np.float32)


def _stacked(parts: Sequence[Any]) -> Any:
    """Concatenate tables of the same kind row-wise."""
    first = parts[0]
    if len(parts) == 1 or first is None:
        return first
    if isinstance(first, Table):
        return type(first)(**{name: _stacked([getattr(part, name) for part in parts]) for name in vars(first)})
    return np.concatenate(parts)
