"""Check the sizes that an image file's header claims against limits, before a decoder uses them.

While it opens a file, Pillow allocates WebP's canvas, reads every TIFF tag and joins a JPEG's EXIF segments. So the few
numbers that decide how much it does are read here first, with `struct` alone.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

MAX_PIXELS = 100_000_000  # 400 MB in memory as Pillow stores RGB; the largest cameras on sale have as many
_MAX_SEGMENTS = 512  # before a JPEG's pixels: 32 MB; an ICC profile takes at most 255
# of a progressive JPEG, each a pass over all pixels; encoders make 10, libjpeg-turbo's fuzzer stops at 500
_MAX_SCANS = 500
_MAX_TAGS = 4096  # in one directory of a TIFF file; TIFF 6.0 with EXIF and GPS names fewer than 300
_MAX_VALUES = 1_000_000  # numbers in one tag: the offsets of 100 million pixels in tiles of 16x16 are 390 625
_MAX_OVERLAP = 4  # bytes of all tags' values, as a multiple of the file's size: in a valid file they do not overlap
_MAX_DIRECTORIES = 8  # Pillow reads the image's own, EXIF, GPS and interoperability
_TABLES_A_SCAN = 4  # segments between the scans of a progressive JPEG

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)  # neither a stuffed byte nor a restart marker
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"

_ORIENTATION = 0x0112
_DIRECTORIES = (0x8769, 0x8825, 0xA005)  # tags that point to a further directory: EXIF, GPS, interoperability
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def check(content: bytes) -> None:
    """Refuse a file whose header claims more than any image needs.

    Files of other formats, and invalid headers, are left to the decoder.

    Raises:
        ValueError: Says what was found.
    """
    if content[:2] in (b"II", b"MM"):
        _check_tiff(content)
    elif content[:2] == b"\xff\xd8":
        _check_jpeg(content)
    elif content[:4] == b"RIFF" and (canvas := _webp_canvas(content)):
        check_pixels(canvas)


def check_pixels(size: tuple[int, int]) -> None:
    """Check an image's size, (width, height).

    Raises:
        ValueError: It has more than MAX_PIXELS pixels.
    """
    width, height = size
    if width * height > MAX_PIXELS:
        raise ValueError(f"a decompression bomb: {width} x {height} pixels, at most {MAX_PIXELS} are decoded")


def orientation(image: Image.Image) -> int:
    """Return how a JPEG, PNG or WebP is to be turned: 1 to 8 as EXIF numbers them; 1 if no valid value is given.

    Only this tag is read, so the size of all others does not matter. XMP is used where EXIF has no orientation.
    """
    for tag, kind, count, value, order in _tags(_exif(image)):
        if tag == _ORIENTATION and kind in (1, 3, 4) and count == 1:
            (number,) = struct.unpack_from(order + {1: "B", 3: "H", 4: "L"}[kind], value)
            return int(number) if 1 <= number <= 8 else 1
    xmp = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
    found = re.search(rb'tiff:Orientation(?:="|>)([1-8])', xmp if isinstance(xmp, bytes) else xmp.encode())
    return int(found[1]) if found else 1


def _exif(image: Image.Image) -> bytes:
    exif = image.info.get("exif")
    if exif is None and (profile := image.info.get("Raw profile type exif")):  # ImageMagick writes it in hexadecimal
        try:
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
        except ValueError:
            return b""
    return bytes(exif or b"").removeprefix(b"Exif\0\0")


class _Tag(NamedTuple):
    tag: int
    kind: int
    number: int
    value: bytes
    """The field itself, which contains a short value, or the offset of a long value."""
    order: str
    """Byte order, as `struct` writes it."""


def _tags(tiff: bytes, start: int | None = None) -> Iterator[_Tag]:
    """Yield the tags of one directory: the first, or the one at offset `start`. An invalid directory has none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return
    big = tiff[2:3] == b"\x2b"  # as Pillow recognises BigTIFF
    entry = struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
    try:
        if start is None:
            (start,) = struct.unpack_from(order + ("Q" if big else "L"), tiff, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), tiff, start)
        start += 8 if big else 2
        for number in range(min(count, (len(tiff) - start) // entry.size)):
            tag, kind, values, field = entry.unpack_from(tiff, start + number * entry.size)
            yield _Tag(tag, kind, values, field, order)
    except (struct.error, OverflowError, ValueError):  # an offset outside of the file
        return


def _check_tiff(content: bytes) -> None:
    pending: list[int | None] = [None]
    total = 0
    for _ in range(_MAX_DIRECTORIES):
        if not pending:
            return
        for number, (tag, kind, count, value, order) in enumerate(_tags(content, pending.pop())):
            if number >= _MAX_TAGS:
                raise ValueError(f"more than {_MAX_TAGS} tags in one TIFF directory")
            width = _WIDTHS.get(kind, 0)
            if width * count > len(content):
                continue  # the value is outside of the file; Pillow ignores such a tag
            if width > 1 and count > _MAX_VALUES:
                raise ValueError(f"TIFF tag {tag} of {count} numbers, at most {_MAX_VALUES} are read")
            total += width * count
            if total > _MAX_OVERLAP * len(content):
                raise ValueError(f"TIFF tags that claim more than {_MAX_OVERLAP} times the file's size")
            if tag in _DIRECTORIES and width * count == len(value):
                pending.append(int.from_bytes(value, "little" if order == "<" else "big"))


def _check_jpeg(content: bytes) -> None:
    place, scans, segments = 2, 0, 0
    while marker := _MARKER.search(content, place):
        if marker[0] == _END_OF_IMAGE:  # what follows, such as a video or a second image, is not decoded
            return
        if marker[0] == _START_OF_SCAN:
            scans += 1
        else:
            segments += 1
        if scans > _MAX_SCANS:
            raise ValueError(f"a JPEG of more than {_MAX_SCANS} scans")
        if segments > _MAX_SEGMENTS + _TABLES_A_SCAN * scans:
            raise ValueError(f"a JPEG of more than {_MAX_SEGMENTS} segments before its pixels")
        place = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2], "big")


def _webp_canvas(content: bytes) -> tuple[int, int] | None:
    """Return width and height as RFC 9649 defines them; None if they cannot be found."""
    kind = content[12:16]
    if content[8:12] != b"WEBP" or len(content) < 30:
        return None
    if kind == b"VP8X":
        return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
