"""One image file: how it becomes pixels, and how it is named when it cannot."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgrec.data.folder import decode
from imgrec.data.source import ReadError


def test_shorter_side_is_scaled_and_the_centre_cut(tmp_path: Path) -> None:
    wide = np.zeros((16, 64, 3), np.uint8)
    wide[:, 20:44] = (250, 100, 50)  # wider than the cut: the filter reaches over its border
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "tall.png")
    for name in ("wide.png", "tall.png"):
        assert (decode(tmp_path / name, 8) == (250, 100, 50)).all()


def test_scaling_is_antialiased(tmp_path: Path) -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::2] = 255
    Image.fromarray(lines).save(tmp_path / "lines.png")
    inner = decode(tmp_path / "lines.png", 8)[:, 1:-1].astype(int)
    assert abs(inner - 127).max() < 12


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:, 4:] = (255, 0, 0, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    pixels = decode(tmp_path / "clear.png", 8)
    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] == (255, 0, 0)).all()


def test_exif_turns_the_image(tmp_path: Path) -> None:
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(halves).save(tmp_path / "turned.png", exif=exif)
    pixels = decode(tmp_path / "turned.png", 8)
    assert (pixels[:4] == 0).all()
    assert (pixels[4:] == 255).all()


def test_grey_images_of_8_and_16_bits(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(np.full((8, 8), 200 << 8, np.uint16)).save(tmp_path / "16.png")
    for name in ("8.png", "16.png"):
        assert (decode(tmp_path / name, 8) == 200).all()


def test_large_jpegs_keep_their_colours(tmp_path: Path) -> None:
    Image.fromarray(np.full((512, 640, 3), (10, 200, 90), np.uint8)).save(tmp_path / "large.jpg", quality=95)
    assert abs(decode(tmp_path / "large.jpg", 16).astype(int) - (10, 200, 90)).max() <= 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is text", "cannot identify image file"),
        (b"", "cannot identify image file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "cannot identify image file"),
    ],
)
def test_names_a_foreign_file(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ReadError) as caught:
        decode(path, 8)
    sentence = str(caught.value)
    assert sentence.startswith(f"'{path}': must be a whole image (JPEG, PNG, WEBP, BMP, TIFF), got: {reason}")
    assert sentence.endswith("replace or delete it, or leave such images out with data.on_error=skip")


def test_names_a_decompression_bomb(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(ReadError, match="decompression bomb"):
        decode(tmp_path / "bomb.png", 8)


def test_names_pixels_without_a_range(tmp_path: Path) -> None:
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "floats.tif")
    with pytest.raises(ReadError, match="got: pixels of mode F, which have no stated range; replace"):
        decode(tmp_path / "floats.tif", 8)


def test_names_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="No such file or directory"):
        decode(tmp_path / "gone.png", 8)
