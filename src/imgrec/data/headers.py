"""What an image file says of itself, held against limits before a decoder believes it.

Pillow allocates WebP's canvas, reads every TIFF tag and joins a JPEG's EXIF segments while it opens a file. So the few
numbers that decide how much are looked at here first, with `struct` alone.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

MAX_PIXELS = 100_000_000  # 400 MB in memory as Pillow holds RGB; the largest cameras for sale make as many
_MAX_SEGMENTS = 512  # before a JPEG's pixels: 32 MB; an ICC profile takes at most 255
_MAX_SCANS = (
    500  # of a progressive JPEG, each a pass over all pixels; encoders make 10, libjpeg-turbo's fuzzer stops at 500
)
_MAX_TAGS = 4096  # in one directory of a TIFF file; TIFF 6.0 with EXIF and GPS names fewer than 300
_MAX_VALUES = 1_000_000  # numbers in one tag: the offsets of 100 million pixels in tiles of 16x16 are 390 625
_MAX_OVERLAP = 4  # bytes of all tags' values, as a multiple of the file's: in a sane file they share none
_MAX_DIRECTORIES = 8  # Pillow follows the image's own, EXIF, GPS and interoperability
_TABLES_A_SCAN = 4  # segments between the scans of a progressive JPEG

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)  # not a stuffed byte, nor a restart
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"

_ORIENTATION = 0x0112
_DIRECTORIES = (0x8769, 0x8825, 0xA005)  # tags that point to a further directory: EXIF, GPS, interoperability
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def check(content: bytes) -> None:
    """Refuse a file whose header asks for more than any image needs.

    Files of other formats, and headers that make no sense, are left to the decoder.
    Raises ValueError with what was found.
    """
    if content[:2] in (b"II", b"MM"):
        _check_tiff(content)
    elif content[:2] == b"\xff\xd8":
        _check_jpeg(content)
    elif content[:4] == b"RIFF" and (canvas := _webp_canvas(content)):
        check_pixels(canvas)


def check_pixels(size: tuple[int, int]) -> None:
    """Raises ValueError for more than MAX_PIXELS. size: width and height."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise ValueError(f"a decompression bomb: {width} x {height} pixels, at most {MAX_PIXELS} are decoded")


def orientation(image: Image.Image) -> int:
    """How a JPEG, PNG or WebP is to be turned: 1 to 8 as EXIF counts them, 1 where nothing valid is said.

    Only this one tag is read, so the size of all others is of no matter. XMP is asked where EXIF says nothing.
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
    if exif is None and (profile := image.info.get("Raw profile type exif")):  # ImageMagick's, in hexadecimal
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
    """The field itself, in which a short value lies; a long one lies where this points."""
    order: str
    """Of bytes, as `struct` writes it."""


def _tags(tiff: bytes, start: int | None = None) -> Iterator[_Tag]:
    """The tags of one directory, the first one unless `start` says where; none where there is no sense in it."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return
    big = tiff[2:3] == b"\x2b"  # as Pillow tells BigTIFF
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
                continue  # points outside, which Pillow passes over
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
        if marker[0] == _END_OF_IMAGE:  # what follows is not decoded: a video, a second image
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
    """Width and height, as RFC 9649 lays them out; None where they are not to be found."""
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
