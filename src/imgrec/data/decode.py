"""Decode one untrusted image file to pixels, or refuse it with a sentence that names it."""

import ctypes
import errno
import io
import logging
import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, _imaging

from imgrec.data.headers import MAX_PIXELS, check, check_pixels, orientation
from imgrec.data.source import ReadError
from imgrec.disk import odd_kind
from imgrec.errors import RunError

MAX_BYTES = 256 * 2**20  # of a file; 89 million pixels without any compression
# not every decoder that Pillow has: the content selects among these, and never reaches rarely used decoders
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

_BAND = 2**20  # pixels converted at a time: 4 MB for each copy, where a whole image takes up to 400
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# failures of the machine, not of an image: leaving images out would hide them
_SKIP = ", or leave such images out with data.on_error=skip"
_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# Pillow's warnings and log lines about an image are not needed: the image is decoded, or refused with a sentence. The
# filter stays installed, as installing one for each image would make Python repeat every other warning.
_FROM_PILLOW = re.compile(r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def _silence_libtiff() -> None:
    """Stop libtiff from printing on stderr, as Pillow raises the same errors.

    A build that hides these functions still prints.
    """
    library = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if function := getattr(library, name, None):
            function(None)


_silence_libtiff()


class ImageError(ReadError):
    """A single image cannot be read; data.on_error=skip leaves it out."""


def decode(path: Path, size: int, *, else_: str = _SKIP) -> NDArray[np.uint8]:
    """Decode one image to uint8 RGB (size, size, 3).

    The content decides the format, not the name. The image is turned as its EXIF data says. Transparency becomes white,
    16 bits become 8, and of several frames the first is used. The shorter side is scaled to `size` (bilinear,
    antialiased) and the centre is cut out. Files above MAX_BYTES and images above MAX_PIXELS are refused before any
    pixel is decoded.

    Args:
        path: The file.
        size: The side of the square.
        else_: What the sentence offers besides replacing the file.

    Raises:
        ImageError: This file cannot be read; the sentence names it.
        ReadError: The machine has no memory or file descriptor left.
    """
    try:
        return square(content(path), size)
    except MemoryError as error:
        raise _failure(path, "too little memory") from error
    except Exception as error:  # a damaged file makes decoders raise anything from OSError to struct.error
        if isinstance(error, OSError) and error.errno in _MACHINE:
            raise _failure(path, reason(error)) from error
        raise ImageError(
            f"{str(path)!r}: must be a whole image ({', '.join(FORMATS)}), got: {reason(error)}; replace or delete"
            f" it{else_}"
        ) from error


def _failure(path: Path, got: str) -> ReadError:
    return ReadError(f"{str(path)!r}: must be read, got: {got}; free memory and files, or use fewer workers")


def reason(error: Exception) -> str:
    """Return the reason in printable ASCII on one line, as a decoder's message may contain bytes of the file."""
    if isinstance(error, UnidentifiedImageError):
        return "cannot identify image file"
    if isinstance(error, Image.DecompressionBombError):
        return f"a decompression bomb: at most {MAX_PIXELS} pixels are decoded"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return re.sub(r"[^!-~]+", " ", text).strip()[:200] or type(error).__name__


def content(path: Path) -> bytes:
    """Return a regular file's bytes. Opening never blocks, so that a pipe without a writer is also refused.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no regular file, or larger than MAX_BYTES.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if kind := odd_kind(status):
            raise ValueError(f"{kind}, which is no regular file")
        if status.st_size > MAX_BYTES:
            raise ValueError(f"a file of {status.st_size} bytes, at most {MAX_BYTES} are read")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def square(content: bytes, size: int) -> NDArray[np.uint8]:
    """Decode the bytes of one image, as `decode` does.

    Raises:
        Exception: They are no whole image; `reason` says what is wrong. Decoders raise anything.
    """
    if ("ignore", None, Warning, _FROM_PILLOW, 0) not in warnings.filters:
        warnings.filterwarnings("ignore", module=_FROM_PILLOW.pattern)
    check(content)
    with Image.open(io.BytesIO(content), formats=FORMATS) as file:
        check_pixels(file.size)
        _check_range(file)
        # a JPEG is decoded at a fraction of its size while that is still at least twice the wanted size
        file.draft(None, (2 * size, 2 * size))
        file.load()
        image = _rgb(file)
        if file.format != "TIFF" and (turn := orientation(file)) in _TURNS:  # Pillow itself turns a TIFF
            image = image.transpose(_TURNS[turn])
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        square = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
        return np.asarray(square)


def squares(images: Iterable[tuple[str, bytes]], count: int, size: int, *, way_out: str) -> NDArray[np.uint8]:
    """Decode images to uint8 (N,3,S,S), as `decode` does.

    Args:
        images: What a refusal calls each image, and its bytes.
        count: N.
        size: S.
        way_out: What a refusal recommends.

    Raises:
        RunError: One is no whole image.
    """
    images_nchw = np.empty((count, 3, size, size), np.uint8)
    for row, (told, content) in enumerate(images):
        try:
            images_nchw[row] = square(content, size).transpose(2, 0, 1)
        except Exception as error:  # a damaged file makes decoders raise anything from OSError to struct.error
            raise RunError(f"{told} must be a whole image, got: {reason(error)}; {way_out}") from error
    return images_nchw


def _check_range(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode}, which have no stated range")
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(258) == (12,):
        raise ValueError("grey of 12 bits, where 1, 8 and 16 are read")


def _rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB in bands of rows, so that temporary copies stay small for images of any size."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rows = max(1, _BAND // image.width)
    if image.height <= rows:
        return _opaque(image)
    rgb = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        rgb.paste(_opaque(image.crop(box)), box)
    return rgb


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow's conversion makes everything above 255 white
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
