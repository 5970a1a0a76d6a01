"""What happens to a batch of training images, each with its own draw: policy, crop, flip, [0,1], light, cutout.

The whole-batch steps are NumPy's, in the calling thread. Measured on two cores with crop and flip, per image: windows
of the padded batch picked by fancy indexing (here; images in memory are padded once, see padded.py) 2.7 µs; torch's
gather of flat indices 2.5 to 4.7, indexing an unfolded view 3.6 to 6.5, groups of equal shifts 12 to 17, slices in a
loop 10 to 70. Torch's ways also share their work among threads, and on a busy machine each such step waits up to 16 ms
for a thread that has no core.
"""

# B images in a batch, C channels, H rows, W columns

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from imgrec.config.augment import Augment
from imgrec.data.augment_params import Draws

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

MID_GREY = np.float32(0.5)


def augment(images_bchw: Pixels, draws: Draws, cfg: Augment) -> Floats:
    """Everything that concerns one image at a time, in the order of `Augment`.

    images_bchw: uint8; may be overwritten.
    draws: row b belongs to image b.
    Returns float32 (B,C,H,W) in [0,1], contiguous.
    """
    if draws.policy_n is not None:
        images_bchw = apply_policy(images_bchw, draws.policy_n, cfg)
    if draws.shift_n2 is not None:
        images_bchw = crop(images_bchw, draws.shift_n2, padding=cfg.crop_padding, border=cfg.crop_border)
    if draws.flip_n is not None:
        flip_(images_bchw, draws.flip_n)
    floats_bchw = to_unit(images_bchw)
    if draws.light_n2 is not None:
        light_(floats_bchw, draws.light_n2)
    if draws.cutout_n2 is not None:
        inside_b1hw = box_mask(
            draws.cutout_n2,
            np.full_like(draws.cutout_n2, cfg.cutout_size, dtype=np.int64),
            side=(images_bchw.shape[2], images_bchw.shape[3]),
        )
        np.copyto(floats_bchw, MID_GREY, where=inside_b1hw)
    return floats_bchw


def to_unit(images_bchw: Pixels) -> Floats:
    """uint8 0..255 -> float32 [0,1], contiguous; the very numbers of torchvision's ToTensor."""
    return np.divide(images_bchw, np.float32(255), dtype=np.float32, order="C")


def crop(images_bchw: Pixels, shift_b2: NDArray[np.int64], *, padding: int, border: str = "black") -> Pixels:
    """Surround each image with `padding` pixels, as torchvision's RandomCrop does, and cut its size out again.

    shift_b2: row and column of the cut's corner, in [0, 2 * padding]; `padding` twice gives the image back.
    border: black, as torchvision pads, where He et al. 2016, section 4.2, pad after subtracting the mean; or reflect,
    which repeats the image mirrored at its edge; ValueError if the image is not larger than the padding.
    """
    b, _, h, w = images_bchw.shape
    seen = windows(padded(images_bchw, padding=padding, border=border), (h, w))
    return seen[np.arange(b), shift_b2[:, 0], shift_b2[:, 1]]


def padded(images_bchw: Pixels, *, padding: int, border: str) -> Pixels:
    """The images with their borders: (B,C,H+2P,W+2P)."""
    b, c, h, w = images_bchw.shape
    if border == "reflect":
        refuse_deep_reflection(padding, side=(h, w))
    padded_bchw = np.zeros((b, c, h + 2 * padding, w + 2 * padding), np.uint8)
    padded_bchw[:, :, padding : padding + h, padding : padding + w] = images_bchw
    if border == "reflect":
        _reflect(padded_bchw, padding)
    return padded_bchw


def windows(padded_bchw: Pixels, side: tuple[int, int]) -> Pixels:
    """Every window of that side, (H,W), in every image, as a view: its corner's row and column are axes 1 and 2."""
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
    """Raises ValueError if a border of `padding` pixels would show more than these images, (H,W), have."""
    if padding >= min(side):
        raise ValueError(f"a reflected border of {padding} px needs larger images, got {side[0]}x{side[1]}")


def _reflect(padded_bchw: Pixels, padding: int) -> None:
    """Fill the border from the image inside; the edge itself is not repeated."""
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
    """Rows read backwards, eight pixels at a time where they divide evenly: words in reverse, and their bytes."""
    if images_bchw.shape[3] % 8:
        return images_bchw[..., ::-1]
    return images_bchw.view(np.uint64)[..., ::-1].byteswap().view(np.uint8)


def light_(images_bchw: Floats, light_b2: NDArray[np.float32]) -> None:
    """Times the gain, plus the offset, of each image, in place; what leaves [0, 1] is cut off."""
    gain_b111, offset_b111 = (light_b2[:, k, None, None, None] for k in (0, 1))
    images_bchw *= gain_b111
    images_bchw += offset_b111
    np.clip(images_bchw, 0, 1, out=images_bchw)


def box_mask(centre_b2: NDArray[np.float64], size_b2: NDArray[np.int64], *, side: tuple[int, int]) -> NDArray[np.bool_]:
    """Where an image's box lies: bool (B,1,H,W), for broadcasting over channels.

    centre_b2: row and column as shares of the sides, in [0, 1): the centre may be any pixel, and what hangs over a
    border is cut off (DeVries & Taylor 2017, section 3.2; Yun et al. 2019, their code).
    size_b2: rows and columns of the whole box.
    """
    return between(box_edges(centre_b2, size_b2, side=side), side=side)


def box_edges(
    centre_b2: NDArray[np.float64], size_b2: NDArray[np.int64], *, side: tuple[int, int]
) -> NDArray[np.int64]:
    """The part of each box of `box_mask` that lies in the image: int64 (B,2,2), in [0, side].

    First row and column inside the box, then first row and column behind it.
    """
    start_b2 = (centre_b2 * side).astype(np.int64) - size_b2 // 2
    return np.stack([start_b2, start_b2 + size_b2], axis=1).clip(0, side)


def between(edges_b22: NDArray[np.int64], *, side: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of boxes with these `box_edges`: bool (B,1,H,W)."""
    inside = []
    for axis in (0, 1):
        places = np.arange(side[axis])
        inside.append((places >= edges_b22[:, 0, axis, None]) & (places < edges_b22[:, 1, axis, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def apply_policy(images_bchw: Pixels, seeds_b: NDArray[np.int64], cfg: Augment) -> Pixels:
    """Trivial-augment (Müller & Hutter 2021) or rand-augment (Cubuk et al. 2020), as torchvision has them.

    They draw from torch's global generator and take no other: it is seeded for each image, and put back at the end.
    """
    policy = _policy(cfg.policy, cfg.policy_ops, cfg.policy_magnitude)
    changed = np.empty_like(images_bchw, order="C")
    with torch.random.fork_rng(devices=[]), _one_thread():
        for place, seed in enumerate(seeds_b.tolist()):
            # not torch.manual_seed, which would seed the accelerators too
            torch.default_generator.manual_seed(seed)
            changed[place] = policy(torch.from_numpy(images_bchw[place])).numpy()
    return changed


@contextmanager
def _one_thread() -> Iterator[None]:
    """One small image gives threads nothing to share; on a busy machine waiting for them made it 10 times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.lru_cache(maxsize=8)
def _policy(name: str, ops: int, magnitude: int) -> Callable[[torch.Tensor], torch.Tensor]:
    from torchvision.transforms import v2  # seconds to import: only who uses it waits

    policies: dict[str, Callable[[], Callable[[torch.Tensor], torch.Tensor]]] = {
        "trivialaugment": v2.TrivialAugmentWide,
        "randaugment": lambda: v2.RandAugment(num_ops=ops, magnitude=magnitude),
    }
    return policies[name]()
