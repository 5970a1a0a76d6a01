"""Apply an epoch's table to images on the accelerator, in torch, to make training batches there.

An accelerator that trains a small network needs images faster than one CPU thread makes them. The table of an epoch is
copied to the device once. A batch is a slice of it and some operations on the whole batch. None of these waits for the
device: shapes depend on no value, and no scalar is copied there.
"""

# N images of the training set, B of them in a batch, K classes, C channels, H rows, W columns, P = H * W pixels

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from imgrec.config.augment import Augment
from imgrec.data.augment import MID_GREY, refuse_deep_reflection
from imgrec.data.epoch_table import EpochTable, Mixing, Transforms
from imgrec.data.epochs import Epochs
from imgrec.data.pruning import Subset
from imgrec.data.source import Images, MemoryImages


class ResidentBatches(Dataset[tuple[Tensor, Tensor]]):
    """The finished batch for (epoch, number), on `device`: bit for bit the batch of `loader.TrainBatches`.

    The images are stored on the device, as uint8.

    Raises:
        ValueError: The images are not in memory, the augmentation has a policy (which is drawn and applied on the CPU),
            or a reflected border is as wide as the images.
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
        balances: bool = False,
    ) -> None:
        if not isinstance(images, MemoryImages):
            raise ValueError(f"resident batches need MemoryImages, got {type(images).__name__}")
        if augment.policy != "none":
            raise ValueError(f"resident batches need augment.policy=none, got {augment.policy!r}")
        count, channels, height, width = images.images_nchw.shape
        self._side = (height, width)
        if augment.crop_border == "reflect":
            refuse_deep_reflection(augment.crop_padding, side=self._side)
        self._reflects = augment.crop_border == "reflect"
        self._epochs = Epochs(
            augment,
            images.labels.numpy(),
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
            subset=subset,
            balances=balances,
        )
        self._device = device
        self._pixels_ncp = images.images_nchw.view(count, channels, height * width).to(device)
        self._rows_h1 = torch.arange(height, device=device)[:, None]
        self._columns_w = torch.arange(width, device=device)
        # rows and columns, in the image, of a crop that starts at row 0 and column 0 of the padded image
        self._cropped_1h1 = self._rows_h1[None] - augment.crop_padding
        self._cropped_11w = self._columns_w[None, None] - augment.crop_padding
        self._either_21w = torch.cat([self._cropped_11w, self._cropped_11w.flip(2)])  # unchanged, and mirrored
        self._classes_k = torch.arange(num_classes, device=device)
        # CUDA divides by a CPU scalar by multiplying with its reciprocal, which changes the last bits
        self._white = torch.full((), 255.0, device=device)
        self._held: tuple[int, EpochTable[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self._epochs)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, number = key
        table = self._table(epoch).rows(self._epochs.batch(number))
        images_bchw = self._transformed(table.own)
        if table.mixing is None:
            return images_bchw, table.own.label_v
        return self._mixed(images_bchw, table.mixing), self._soft_targets(table.own.label_v, table.mixing)

    def indices(self, epoch: int, number: int) -> list[int]:
        """Return the indices, within the split, of the images in the batch for that key."""
        return [int(index) for index in self._epochs.indices(epoch, number)]

    def _table(self, epoch: int) -> EpochTable[Tensor]:
        """Return the epoch's table on the device."""
        if self._held is None or self._held[0] != epoch:
            self._held = (epoch, self._epochs.table(epoch, side=self._side).each(self._moved))
        return self._held[1]

    def _moved(self, column: NDArray[np.generic]) -> Tensor:
        """Return the column on the device. It is copied to a GPU from pinned memory, so that the CPU does not wait."""
        # int64 for integers and booleans: torch indexes with no other type, and would convert them for each batch
        moved = torch.from_numpy(column if column.dtype == np.float32 else column.astype(np.int64))
        if self._device.type == "cuda":
            moved = moved.pin_memory()
        return moved.to(self._device, non_blocking=True)

    def _transformed(self, its: Transforms[Tensor]) -> Tensor:
        """Apply `augment.augment` on the device: float32 (B,C,H,W) in [0,1]."""
        floats_bchw = self._cropped(its).float().div_(self._white)
        if its.light_v2 is not None:
            gain_b111, offset_b111 = its.light_v2[:, :, None, None, None].unbind(1)
            floats_bchw.mul_(gain_b111).add_(offset_b111).clamp_(0, 1)
        for edges_v22 in (its.cutout_v22, its.erased_v22):
            if edges_v22 is not None:
                floats_bchw.masked_fill_(self._between(edges_v22), float(MID_GREY))
        return floats_bchw

    def _cropped(self, its: Transforms[Tensor]) -> Tensor:
        """Return the images cropped and flipped, uint8 (B,C,H,W).

        The place of each pixel in the original image is computed.
        """
        (height, width), channels = self._side, self._pixels_ncp.shape[1]
        rows_bh1, columns_b1w = self._cropped_1h1, self._cropped_11w
        outside_bhw = None
        if its.flip_v is not None:
            columns_b1w = self._either_21w.index_select(0, its.flip_v)
        if its.shift_v2 is not None:
            top_b11, left_b11 = its.shift_v2[:, :, None, None].unbind(1)
            rows_bh1, columns_b1w = rows_bh1 + top_b11, columns_b1w + left_b11
            if self._reflects:
                rows_bh1, columns_b1w = _reflected(rows_bh1, height), _reflected(columns_b1w, width)
            else:
                outside_bhw = _is_outside(rows_bh1, height) | _is_outside(columns_b1w, width)
                rows_bh1, columns_b1w = rows_bh1.clamp(0, height - 1), columns_b1w.clamp(0, width - 1)
        places_b1p = (rows_bh1 * width + columns_b1w).view(-1, 1, height * width)
        # the places are the same in every channel: gathering from whole images computes and reads them once
        whole_bcp = self._pixels_ncp.index_select(0, its.index_v)
        pixels_bcp = whole_bcp.gather(2, places_b1p.expand(len(whole_bcp), channels, -1))
        pixels_bchw = pixels_bcp.view(-1, channels, height, width)
        if outside_bhw is not None:
            pixels_bchw.masked_fill_(outside_bhw[:, None], 0)
        return pixels_bchw

    def _mixed(self, images_bchw: Tensor, how: Mixing[Tensor]) -> Tensor:
        """Apply `augment.mix` on the device."""
        partners_bchw = self._transformed(how.partners)
        if how.share_v is not None:
            share_b111 = how.share_v[:, None, None, None]
            # in separate steps, each rounded: a fused multiply-add changes the last bits
            images_bchw.mul_(share_b111).add_(partners_bchw * (1 - share_b111))
        return (
            images_bchw if how.box_v22 is None else torch.where(self._between(how.box_v22), partners_bchw, images_bchw)
        )

    def _soft_targets(self, label_b: Tensor, how: Mixing[Tensor]) -> Tensor:
        """Apply `augment.soft_targets` on the device."""
        own_b1, partners_b1 = how.probability_v2[:, :, None].unbind(1)
        is_own_bk = label_b[:, None] == self._classes_k
        is_partners_bk = how.partners.label_v[:, None] == self._classes_k
        return is_own_bk * own_b1 + is_partners_bk * partners_b1

    def _between(self, edges_b22: Tensor) -> Tensor:
        """Apply `augment.between` on the device."""
        first_b2, behind_b2 = edges_b22[..., None, None].unbind(1)
        rows_bh1 = (self._rows_h1 >= first_b2[:, 0]) & (self._rows_h1 < behind_b2[:, 0])
        columns_b1w = (self._columns_w >= first_b2[:, 1]) & (self._columns_w < behind_b2[:, 1])
        return (rows_bh1 & columns_b1w)[:, None]


def _reflected(places: Tensor, side: int) -> Tensor:
    """Reflect places beyond an edge back into [0, side). The edge itself is not repeated."""
    return (side - 1) - ((side - 1) - places.abs()).abs()


def _is_outside(places: Tensor, side: int) -> Tensor:
    return (places < 0) | (places >= side)
