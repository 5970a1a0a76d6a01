"""Test malicious image files: they are refused by name, with little memory and time."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import refusal

from imgrec.data.decode import MAX_BYTES, ImageError, decode
from imgrec.data.headers import MAX_PIXELS
from imgrec.data.source import ReadError


def encoded(kind: str, size: tuple[int, int] = (16, 16), **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = zlib.compress(bytes((width * 3 + 1) * height)) if width * height < 10_000 else b""
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


# ---- limits


def test_a_file_of_too_many_bytes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert f"got: a file of {MAX_BYTES + 1} bytes, at most {MAX_BYTES} are read;" in refusal(tmp_path / "a.png")


def webp(width: int, height: int) -> bytes:
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + body


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def jpeg(width: int, height: int) -> bytes:
    content = encoded("JPEG")
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def tiff(*tags: tuple[int, int, int, int], order: str = "<", tail: bytes = b"") -> bytes:
    """tags: number, type, count, value or offset."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8)
    return head + struct.pack(order + "H", len(tags)) + b"".join(struct.pack(order + "HHLL", *t) for t in tags) + tail


def plain_tiff(width: int, height: int, *tags: tuple[int, int, int, int], tail: bytes = b"") -> bytes:
    """Grey, uncompressed; pixels are the file's own first bytes."""
    own = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    own += [(273, 4, 1, 0), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height)]
    return tiff(*sorted([*own, *tags]), tail=tail)


@pytest.mark.parametrize("make", [png, webp, bmp, jpeg, plain_tiff])
@pytest.mark.parametrize("size", [(10_001, 10_000), (16_000, 16_000)])
def test_too_many_pixels_are_refused_by_the_header(
    tmp_path: Path, make: Callable[[int, int], bytes], size: tuple[int, int]
) -> None:
    (tmp_path / "a").write_bytes(make(*size))
    assert f"at most {MAX_PIXELS} are decoded;" in refusal(tmp_path / "a").replace("pixels are", "are")
    assert "got: a decompression bomb" in refusal(tmp_path / "a")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes_are_read(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    (tmp_path / "a").write_bytes(encoded(kind, size))
    assert decode(tmp_path / "a", 8).shape == (8, 8, 3)


@pytest.mark.long
def test_between_pillows_warning_and_our_limit_nothing_is_said(tmp_path: Path) -> None:
    Image.new("1", (9_900, 9_900), 1).save(tmp_path / "a.png")
    code = (
        "import sys, pathlib, logging, PIL.Image\n"
        "from imgrec.data.decode import decode\n"
        "assert (decode(pathlib.Path(sys.argv[1]), 8) == 255).all()\n"
        "assert PIL.Image.MAX_IMAGE_PIXELS == 89_478_485\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path / "a.png"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- metadata that explodes


def text_bombs() -> bytes:
    body = zlib.compress(bytes(900_000))
    texts = [chunk(b"zTXt", b"key%d\0\0" % number + body) for number in range(200)]
    return png(16, 16, *texts, chunk(b"iTXt", b"key\0\1\0\0\0" + zlib.compress(bytes(50_000_000))))


def profile_bomb() -> bytes:
    return png(16, 16, chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(100_000_000))))


def overlapping_tags() -> bytes:
    tags = [(number, 7, 1_000_000, 0) for number in range(1000, 4000)]
    return plain_tiff(16, 16, *tags, tail=bytes(1_000_000))


def countless_tags() -> bytes:
    return plain_tiff(16, 16, *[(number, 3, 1, 0) for number in range(1000, 60_000)])


def one_endless_tag() -> bytes:
    return plain_tiff(16, 16, (274, 3, 20_000_000, 0), tail=bytes(40_000_000))


def endless_tag_in_exif() -> bytes:
    content = plain_tiff(16, 16, (34665, 4, 1, 8 + 2 + 10 * 12))
    return content + tiff((1000, 3, 20_000_000, 0))[8:] + bytes(40_000_000)


def segments() -> bytes:
    content = encoded("JPEG")
    exif = b"Exif\0\0" + bytes(60_000)
    return content[:2] + (b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif) * 600 + content[2:]


def scans() -> bytes:
    content = encoded("JPEG", progressive=True)
    place = content.rindex(b"\xff\xda")
    return content[:place] + content[place:-2] * 600 + content[-2:]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (text_bombs, "got: Too much memory used in text chunks:"),
        (profile_bomb, "got: Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK;"),
        (overlapping_tags, "got: TIFF tags that claim more than 4 times the file's size;"),
        (countless_tags, "got: more than 4096 tags in one TIFF directory;"),
        (one_endless_tag, "got: TIFF tag 274 of 20000000 numbers, at most 1000000 are read;"),
        (endless_tag_in_exif, "got: TIFF tag 1000 of 20000000 numbers, at most 1000000 are read;"),
        (segments, "got: a JPEG of more than 512 segments before its pixels;"),
        (scans, "got: a JPEG of more than 500 scans;"),
    ],
)
def test_metadata_that_explodes_is_refused(tmp_path: Path, make: Callable[[], bytes], reason: str) -> None:
    (tmp_path / "a").write_bytes(make())
    assert reason in refusal(tmp_path / "a")


@pytest.mark.long
def test_metadata_takes_little_memory(tmp_path: Path) -> None:
    makers = (
        text_bombs,
        profile_bomb,
        overlapping_tags,
        countless_tags,
        one_endless_tag,
        endless_tag_in_exif,
        segments,
    )
    for make in makers:
        (tmp_path / make.__name__).write_bytes(make())
    assert peak(*tmp_path.iterdir()) < 160 * 2**20


def peak(*paths: Path) -> int:
    """Bytes that decoding the files, one after the other, adds to a fresh process' largest resident size."""
    code = (
        "import pathlib, resource, sys\n"
        "from imgrec.data.decode import ReadError, decode\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        "for path in sys.argv[1:]:\n"
        "    try: decode(pathlib.Path(path), 32)\n"
        "    except ReadError: pass\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert not done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "copies"), [("RGB", 1.3), ("L", 1.6), ("RGBA", 2.3), ("P", 1.6), ("I;16", 1.8)])
def test_a_huge_image_is_not_held_many_times(tmp_path: Path, mode: str, copies: float) -> None:
    Image.new(mode, (10_000, 10_000)).save(tmp_path / "a.png", compress_level=1)
    assert peak(tmp_path / "a.png") < copies * 4 * MAX_PIXELS


# ---- foreign and cut files


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_cut_files_are_refused(tmp_path: Path, kind: str, share: float) -> None:
    content = encoded(kind, (64, 64))
    (tmp_path / "a").write_bytes(content[: int(share * len(content))])
    refusal(tmp_path / "a")


@pytest.mark.parametrize("kind", ["GIF", "PPM", "ICO", "PDF", "EPS", "JPEG2000"])
def test_other_formats_are_refused_whatever_their_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.png").write_bytes(encoded(kind))
    assert "got: cannot identify image file;" in refusal(tmp_path / "a.png")


def test_it_is_a_read_error() -> None:
    assert issubclass(ImageError, ReadError)
