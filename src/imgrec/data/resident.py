"""Training batches made on the accelerator, from images that are kept there.

An accelerator that trains a small network takes images faster than one thread of a CPU makes them. Everything that is
drawn becomes integers in NumPy once per epoch and goes to the device in a few tables; a batch is a slice of them and
some operations on the whole batch. None of these waits for the device: shapes depend on no value, and no scalar is
copied there.
"""

# N images of the training set, V visits of an epoch, B of them in a batch, K classes, C channels, H rows, W columns

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from imgrec.config.augment import Augment
from imgrec.data.augment import MID_GREY, box_edges, refuse_deep_reflection
from imgrec.data.augment_params import Draws, Plan, plan
from imgrec.data.mix import cutmix_boxes, soft_targets
from imgrec.data.pruning import Subset
from imgrec.data.source import Images, MemoryImages


@dataclass(frozen=True, kw_only=True)
class _Views:
    """What is seen of one image after the other."""

    place_v4: Tensor
    """int64: the image's index; row and column of what is seen in the upper left corner, which may lie outside of the
    image; the step from one column to the next, -1 where the image is mirrored."""
    light_v2: Tensor | None
    """float32: gain and offset of the pixels in [0, 1]."""
    cutout_v22: Tensor | None
    """`box_edges` of the square."""

    def rows(self, batch: slice) -> "_Views":
        light_b2 = None if self.light_v2 is None else self.light_v2[batch]
        cutout_b22 = None if self.cutout_v22 is None else self.cutout_v22[batch]
        return _Views(place_v4=self.place_v4[batch], light_v2=light_b2, cutout_v22=cutout_b22)


@dataclass(frozen=True, kw_only=True)
class _Mix:
    """What each image is mixed with, and how."""

    partners: _Views
    labels_v: Tensor
    """int64: of the partners."""
    targets_v2: Tensor
    """float32: the probability of the image's own class, and of its partner's where that is another one, else 0."""
    share_v: Tensor | None
    """float32: the image's share in mixup."""
    box_v22: Tensor | None
    """`box_edges` of what is pasted in CutMix."""


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """What is drawn for one epoch, row by row in the order of the visits; on the device, but for `indices_v`."""

    epoch: int
    indices_v: NDArray[np.int64]
    own: _Views
    labels_v: Tensor
    """int64."""
    mix: _Mix | None


class ResidentBatches(Dataset[tuple[Tensor, Tensor]]):
    """The finished batch for (epoch, number), on `device`: to the last bit what `loader.TrainBatches` makes.

    The images lie on the device from here on, as uint8. Raises ValueError for images that are not in memory, for an
    augmentation with a policy, which is drawn and applied on the CPU, and for a reflected border of as many pixels as
    the images have.
    """

    def __init__(
        self,
        images: Images,
        *,
        device: torch.device,
        augment: Augment,
        num_classes: int,
        batch_size: int,
        seed: int,
        rank: int,
        world_size: int,
        subset: Subset | None = None,
    ) -> None:
        if not isinstance(images, MemoryImages):
            raise ValueError(f"resident batches need MemoryImages, got {type(images).__name__}")
        if augment.policy != "none":
            raise ValueError(f"resident batches need augment.policy=none, got {augment.policy!r}")
        count, channels, height, width = images.images_nchw.shape
        self._side = (height, width)
        if augment.crop_border == "reflect":
            refuse_deep_reflection(augment.crop_padding, side=self._side)
        self._augment = augment
        self._batch_size = batch_size
        self._world_size = world_size
        self._planned = functools.partial(
            plan, augment, len(images), seed=seed, rank=rank, world_size=world_size, subset=subset
        )
        self._device = device
        self._labels = images.labels.numpy()
        self._pixels_ncp = images.images_nchw.view(count, channels, height * width).to(device)
        self._rows_h1 = torch.arange(height, device=device)[:, None]
        self._columns_w = torch.arange(width, device=device)
        self._classes_k = torch.arange(num_classes, device=device)
        # CUDA divides by a number that comes from the CPU by multiplying with its reciprocal: other last bits
        self._white = torch.full((), 255.0, device=device)
        self._held: _Tables | None = None

    def __len__(self) -> int:
        own = -(-len(self._labels) // self._world_size)
        return -(-own // self._batch_size)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, number = key
        tables, batch = self._tables(epoch), self._slice(number)
        images_bchw, labels_b = self._look(tables.own.rows(batch)), tables.labels_v[batch]
        return self._mixed(images_bchw, labels_b, tables.mix, batch) if tables.mix else (images_bchw, labels_b)

    def indices(self, epoch: int, number: int) -> list[int]:
        """Which images the batch for that key holds, of the split."""
        return [int(index) for index in self._tables(epoch).indices_v[self._slice(number)]]

    def _slice(self, number: int) -> slice:
        return slice(number * self._batch_size, (number + 1) * self._batch_size)

    def _tables(self, epoch: int) -> _Tables:
        if self._held is None or self._held.epoch != epoch:
            planned = self._planned(epoch=epoch)
            own = planned.draws.rows(planned.rows_v)
            self._held = _Tables(
                epoch=epoch,
                indices_v=planned.indices_v,
                own=self._views(planned.indices_v, own),
                labels_v=self._moved(self._labels[planned.indices_v]),
                mix=None if self._augment.mix == "none" else self._mixes(planned, own),
            )
        return self._held

    def _views(self, indices_v: NDArray[np.int64], own: Draws) -> _Views:
        """own: row v belongs to image v of these."""
        place_v4 = np.zeros((len(indices_v), 4), np.int64)
        place_v4[:, 0] = indices_v
        place_v4[:, 3] = 1
        if own.shift_n2 is not None:
            place_v4[:, 1:3] = own.shift_n2 - self._augment.crop_padding
        if own.flip_n is not None:
            place_v4[:, 2] += own.flip_n * (self._side[1] - 1)
            place_v4[:, 3] -= own.flip_n * 2
        cutout_v22 = None
        if own.cutout_n2 is not None:
            size_v2 = np.full_like(own.cutout_n2, self._augment.cutout_size, dtype=np.int64)
            cutout_v22 = self._moved(box_edges(own.cutout_n2, size_v2, side=self._side))
        light_v2 = None if own.light_n2 is None else self._moved(own.light_n2)
        return _Views(place_v4=self._moved(place_v4), light_v2=light_v2, cutout_v22=cutout_v22)

    def _mixes(self, planned: Plan, own: Draws) -> _Mix:
        assert own.partner_n is not None, "a mix draws partners"
        assert own.share_n is not None, "a mix draws shares"
        kept_v, share_v, box_v22 = own.share_n, None, None
        if own.box_n2 is None:
            share_v = self._moved(own.share_n.astype(np.float32))
        else:
            edges_v22, kept_v = cutmix_boxes(own.share_n, own.box_n2, side=self._side)
            box_v22 = self._moved(edges_v22)
        labels_v = self._labels[own.partner_n]
        # of two classes only: the image's own is 0, and its partner's 0 or 1
        other_v = (labels_v != self._labels[planned.indices_v]).astype(np.int64)
        targets_v2 = soft_targets(np.zeros_like(other_v), other_v, kept_v, num_classes=2)
        partners = planned.draws.rows(planned.rows_v - planned.indices_v + own.partner_n)
        return _Mix(
            partners=self._views(own.partner_n, partners),
            labels_v=self._moved(labels_v),
            targets_v2=self._moved(targets_v2),
            share_v=share_v,
            box_v22=box_v22,
        )

    def _moved(self, table: NDArray[np.generic]) -> Tensor:
        """The table on the device. To a GPU it is copied from pinned memory, while the CPU goes on."""
        moved = torch.from_numpy(table)
        if self._device.type == "cuda":
            moved = moved.pin_memory()
        return moved.to(self._device, non_blocking=True)

    def _look(self, views: _Views) -> Tensor:
        """The images so seen, float32 (B,C,H,W) in [0,1]: crop, flip, light and cutout."""
        (height, width), channels = self._side, self._pixels_ncp.shape[1]
        image_b11, row_b11, column_b11, step_b11 = views.place_v4[:, :, None, None].unbind(1)
        rows_bh1 = row_b11 + self._rows_h1
        columns_b1w = column_b11 + step_b11 * self._columns_w
        outside_bhw = None
        if self._augment.crop_padding and self._augment.crop_border == "reflect":
            rows_bh1, columns_b1w = _folded(rows_bh1, height), _folded(columns_b1w, width)
        elif self._augment.crop_padding:
            outside_bhw = _is_outside(rows_bh1, height) | _is_outside(columns_b1w, width)
            rows_bh1, columns_b1w = rows_bh1.clamp(0, height - 1), columns_b1w.clamp(0, width - 1)
        places_b1p = (rows_bh1 * width + columns_b1w).view(-1, 1, height * width)
        # the same places in every channel: gathered from a batch of whole images, they are computed and read once
        whole_bcp = self._pixels_ncp.index_select(0, image_b11.flatten())
        pixels_bchw = whole_bcp.gather(2, places_b1p.expand(-1, channels, -1)).view(-1, channels, height, width)
        if outside_bhw is not None:
            pixels_bchw.masked_fill_(outside_bhw[:, None], 0)
        floats_bchw = pixels_bchw.float().div_(self._white)
        if views.light_v2 is not None:
            gain_b111, offset_b111 = views.light_v2[:, :, None, None, None].unbind(1)
            floats_bchw.mul_(gain_b111).add_(offset_b111).clamp_(0, 1)
        if views.cutout_v22 is not None:
            floats_bchw.masked_fill_(self._between(views.cutout_v22), float(MID_GREY))
        return floats_bchw

    def _mixed(self, images_bchw: Tensor, labels_b: Tensor, mix: _Mix, batch: slice) -> tuple[Tensor, Tensor]:
        partners_bchw = self._look(mix.partners.rows(batch))
        if mix.share_v is not None:
            share_b111 = mix.share_v[batch, None, None, None]
            # in steps, each rounded: a fused multiplication and addition has other last bits
            images_bchw = images_bchw.mul_(share_b111).add_(partners_bchw.mul_(1 - share_b111))
        if mix.box_v22 is not None:
            images_bchw = torch.where(self._between(mix.box_v22[batch]), partners_bchw, images_bchw)
        own_b1, others_b1 = mix.targets_v2[batch, :, None].unbind(1)
        is_own_bk = labels_b[:, None] == self._classes_k
        is_others_bk = mix.labels_v[batch, None] == self._classes_k
        return images_bchw, is_own_bk * own_b1 + is_others_bk * others_b1

    def _between(self, edges_b22: Tensor) -> Tensor:
        """As `augment.between`."""
        first_b2, behind_b2 = edges_b22[..., None, None].unbind(1)
        rows_bh1 = (self._rows_h1 >= first_b2[:, 0]) & (self._rows_h1 < behind_b2[:, 0])
        columns_b1w = (self._columns_w >= first_b2[:, 1]) & (self._columns_w < behind_b2[:, 1])
        return (rows_bh1 & columns_b1w)[:, None]


def _folded(places: Tensor, side: int) -> Tensor:
    """Places beyond an edge, back into [0, side) as a mirror there shows them; the edge itself is not repeated."""
    return (side - 1) - ((side - 1) - places.abs()).abs()


def _is_outside(places: Tensor, side: int) -> Tensor:
    return (places < 0) | (places >= side)
