"""Apply an epoch's table to images in NumPy: policy, crop, flip, scaling to [0, 1], light, cutout and mixing.

Each step handles a whole batch, in the calling thread. Times were measured on two cores with crop and flip, per image:
windows of the padded batch picked by fancy indexing (used here; images in memory are padded once, `PaddedImages`) 2.7
µs; torch's gather of flat indices 2.5 to 4.7, indexing an unfolded view 3.6 to 6.5, groups of equal shifts 12 to 17,
slices in a loop 10 to 70. Torch's operations also share their work among threads. On a busy machine each such step
waits up to 16 ms for a thread that has no core.
"""

# N images of the set, B of them in a batch, K classes, C channels, H rows, W columns, P pixels of padding

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from imgrec.config.augment import Augment
from imgrec.data.epoch_table import Array, Mixing, Transforms
from imgrec.data.source import Images, MemoryImages

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

MID_GREY = np.float32(0.5)
_WIDEST = 6  # a border of 1/6 of the side multiplies the bytes by 1.8


def augment(images_bchw: Pixels, its: Transforms[Array], cfg: Augment) -> Floats:
    """Apply every transform of a single image, in the order of `Transforms`.

    Args:
        images_bchw: The images, uint8; may be overwritten.
        its: Row b belongs to image b.
        cfg: The configuration from which the rows were drawn.

    Returns:
        float32 (B,C,H,W) in [0,1], contiguous.
    """
    if its.policy_v is not None:
        images_bchw = apply_policy(images_bchw, its.policy_v, cfg)
    if its.shift_v2 is not None:
        images_bchw = crop(images_bchw, its.shift_v2, padding=cfg.crop_padding, border=cfg.crop_border)
    return after_crop(images_bchw, its)


def after_crop(images_bchw: Pixels, its: Transforms[Array]) -> Floats:
    """Apply the steps of `augment` that follow the crop: flip, scaling to [0,1], light, cutout, erasing."""
    if its.flip_v is not None:
        flip_(images_bchw, its.flip_v)
    floats_bchw = to_unit(images_bchw)
    if its.light_v2 is not None:
        light_(floats_bchw, its.light_v2)
    for edges_v22 in (its.cutout_v22, its.erased_v22):
        if edges_v22 is not None:
            inside_b1hw = between(edges_v22, side=(images_bchw.shape[2], images_bchw.shape[3]))
            np.copyto(floats_bchw, MID_GREY, where=inside_b1hw)
    return floats_bchw


def to_unit(images_bchw: Pixels) -> Floats:
    """Scale uint8 0..255 to float32 [0,1], contiguous; the values equal those of torchvision's ToTensor exactly."""
    return np.divide(images_bchw, np.float32(255), dtype=np.float32, order="C")


def crop(images_bchw: Pixels, shift_b2: NDArray[np.int32], *, padding: int, border: str = "black") -> Pixels:
    """Pad each image by `padding` pixels, as torchvision's RandomCrop does, and cut out a window of the original size.

    Args:
        images_bchw: The images, uint8.
        shift_b2: Row and column of the window's corner, in [0, 2 * padding]; `padding` for both returns the image
            itself.
        padding: Pixels on each side.
        border: `black` pads with zeros as torchvision does (He et al. 2016, section 4.2, pad after subtracting the
            mean); `reflect` repeats the image mirrored at its edge.

    Raises:
        ValueError: The border is reflected, and the image is not larger than the padding.
    """
    b, _, h, w = images_bchw.shape
    seen = windows(padded(images_bchw, padding=padding, border=border), (h, w))
    return seen[np.arange(b), shift_b2[:, 0], shift_b2[:, 1]]


def padded(images_bchw: Pixels, *, padding: int, border: str) -> Pixels:
    """Return the images with their borders: (B,C,H+2P,W+2P)."""
    b, c, h, w = images_bchw.shape
    if border == "reflect":
        refuse_deep_reflection(padding, side=(h, w))
    padded_bchw = np.zeros((b, c, h + 2 * padding, w + 2 * padding), np.uint8)
    padded_bchw[:, :, padding : padding + h, padding : padding + w] = images_bchw
    if border == "reflect":
        _reflect(padded_bchw, padding)
    return padded_bchw


def windows(padded_bchw: Pixels, side: tuple[int, int]) -> Pixels:
    """Return every window of this side, (H,W), in every image, as a view.

    Axes 1 and 2 are the row and the column of the window's corner.
    """
    b, c, rows, columns = padded_bchw.shape
    h, w = side
    per_image, per_channel, per_row, per_column = padded_bchw.strides
    return np.lib.stride_tricks.as_strided(
        padded_bchw,
        shape=(b, rows - h + 1, columns - w + 1, c, h, w),
        strides=(per_image, per_row, per_column, per_channel, per_row, per_column),
        writeable=False,
    )


def refuse_deep_reflection(padding: int, *, side: tuple[int, int]) -> None:
    """Check that a reflected border fits the images.

    Args:
        padding: Pixels on each side.
        side: (H,W) of the images.

    Raises:
        ValueError: The border needs more pixels than the images have.
    """
    if padding >= min(side):
        raise ValueError(f"a reflected border of {padding} px needs larger images, got {side[0]}x{side[1]}")


def _reflect(padded_bchw: Pixels, padding: int) -> None:
    """Fill the border from the image inside it. The edge pixel itself is not repeated."""
    height, width = (side - 2 * padding for side in padded_bchw.shape[2:])
    for k in range(1, padding + 1):
        padded_bchw[:, :, padding - k] = padded_bchw[:, :, padding + k]
        padded_bchw[:, :, padding + height - 1 + k] = padded_bchw[:, :, padding + height - 1 - k]
    for k in range(1, padding + 1):
        padded_bchw[..., padding - k] = padded_bchw[..., padding + k]
        padded_bchw[..., padding + width - 1 + k] = padded_bchw[..., padding + width - 1 - k]


def flip_(images_bchw: Pixels, flip_b: NDArray[np.bool_]) -> None:
    """Mirror the chosen images left to right, in place."""
    images_bchw[flip_b] = _mirrored(np.ascontiguousarray(images_bchw[flip_b]))


def _mirrored(images_bchw: Pixels) -> Pixels:
    """Return the rows in reverse order.

    Where the width is a multiple of 8, eight pixels are handled at a time: 64-bit words in reverse order, with their
    bytes swapped.
    """
    if images_bchw.shape[3] % 8:
        return images_bchw[..., ::-1]
    return images_bchw.view(np.uint64)[..., ::-1].byteswap().view(np.uint8)


def light_(images_bchw: Floats, light_b2: NDArray[np.float32]) -> None:
    """Multiply each image by its gain and add its offset, in place, then clip to [0, 1]."""
    gain_b111, offset_b111 = (light_b2[:, k, None, None, None] for k in (0, 1))
    images_bchw *= gain_b111
    images_bchw += offset_b111
    np.clip(images_bchw, 0, 1, out=images_bchw)


def between(edges_b22: NDArray[np.int32], *, side: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels inside boxes with these `box_edges`: bool (B,1,H,W), for broadcasting over channels."""
    inside = []
    for axis in (0, 1):
        places = np.arange(side[axis])
        inside.append((places >= edges_b22[:, 0, axis, None]) & (places < edges_b22[:, 1, axis, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


# ---- mixing two images


def mix(images_bchw: Floats, partners_bchw: Floats, how: Mixing[Array]) -> Floats:
    """Mix each image with its partner; row b of `how` belongs to image b."""
    if how.share_v is not None:
        images_bchw = mixup(images_bchw, partners_bchw, how.share_v)
    return images_bchw if how.box_v22 is None else cutmix(images_bchw, partners_bchw, how.box_v22)


def mixup(images_bchw: Floats, partners_bchw: Floats, share_b: NDArray[np.float32]) -> Floats:
    """Blend every pixel (Zhang et al. 2018, equation 1): share x image + (1 - share) x partner."""
    share_b111 = share_b[:, None, None, None]
    mixed: Floats = images_bchw * share_b111
    mixed += partners_bchw * (1 - share_b111)
    return mixed


def cutmix(images_bchw: Floats, partners_bchw: Floats, edges_b22: NDArray[np.int32]) -> Floats:
    """Paste a box of the partner, with these `box_edges`, into each image (Yun et al. 2019, section 3.1)."""
    side = (images_bchw.shape[2], images_bchw.shape[3])
    return np.where(between(edges_b22, side=side), partners_bchw, images_bchw)


def soft_targets(
    labels_b: NDArray[np.int64],
    partners_b: NDArray[np.int64],
    probability_b2: NDArray[np.float32],
    *,
    num_classes: int,
) -> Floats:
    """Return class probabilities, float32 (B,K), from those of the image's own class and of its partner's."""
    targets_bk = np.zeros((len(labels_b), num_classes), np.float32)
    rows_b = np.arange(len(labels_b))
    targets_bk[rows_b, labels_b] = probability_b2[:, 0]
    targets_bk[rows_b, partners_b] += probability_b2[:, 1]
    return targets_bk


# ---- images stored with their border, so that a batch of crops is a single copy


class PaddedImages:
    """A data set in memory whose images are padded, in a copy of its own.

    Args:
        images: The data set.
        padding: Pixels on each side.
        border: `black` or `reflect`.

    Raises:
        ValueError: The border is reflected, and the images are not larger than the padding.
    """

    def __init__(self, images: MemoryImages, *, padding: int, border: str) -> None:
        self._side = (images.images_nchw.shape[2], images.images_nchw.shape[3])
        self._padded_nchw = padded(images.images_nchw.numpy(), padding=padding, border=border)

    def cropped(self, index_b: NDArray[np.int64], shift_b2: NDArray[np.int32]) -> Pixels:
        """Return the windows whose corners are at row and column `shift_b2`: uint8 (B,C,H,W), a copy."""
        return windows(self._padded_nchw, self._side)[index_b, shift_b2[:, 0], shift_b2[:, 1]]


def pad(images: Images, cfg: Augment) -> PaddedImages | None:
    """Return padded images if batches can be cut from them.

    This needs images in memory, a crop, and no policy that changes images before the crop.

    Returns:
        None otherwise, and for borders that would more than double the bytes; each batch is then padded separately.
    """
    if not cfg.crop_padding or cfg.policy != "none" or not isinstance(images, MemoryImages):
        return None
    if _WIDEST * cfg.crop_padding > min(images.images_nchw.shape[2:]):
        return None
    return PaddedImages(images, padding=cfg.crop_padding, border=cfg.crop_border)


# ---- policies


def apply_policy(images_bchw: Pixels, seeds_b: NDArray[np.int64], cfg: Augment) -> Pixels:
    """Apply a policy as torchvision implements it: trivialaugment, randaugment, or AugMix (Hendrycks et al. 2020).

    Torchvision's policies can only draw from torch's global generator. So it is seeded for each image, and restored at
    the end.
    """
    policy = _policy(cfg.policy, cfg.policy_ops, cfg.policy_magnitude)
    changed = np.empty_like(images_bchw, order="C")
    with torch.random.fork_rng(devices=[]), _one_thread():
        for place, seed in enumerate(seeds_b.tolist()):
            # not torch.manual_seed, which also seeds the accelerators
            torch.default_generator.manual_seed(seed)
            changed[place] = policy(torch.from_numpy(images_bchw[place])).numpy()
    return changed


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit torch to one thread.

    A small image has no work to share among threads. On a busy machine, waiting for them made a policy 10 times slower.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.lru_cache(maxsize=8)
def _policy(name: str, ops: int, magnitude: int) -> Callable[[torch.Tensor], torch.Tensor]:
    from torchvision.transforms import v2  # takes seconds to import, so it is imported only on use

    policies: dict[str, Callable[[], Callable[[torch.Tensor], torch.Tensor]]] = {
        "trivialaugment": v2.TrivialAugmentWide,
        "randaugment": lambda: v2.RandAugment(num_ops=ops, magnitude=magnitude),
        "augmix": lambda: v2.AugMix(all_ops=False),  # without the operations that CIFAR-10-C tests, as in the paper
    }
    return policies[name]()
