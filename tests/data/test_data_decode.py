"""Test how an image file is decoded, and how the error message names a file that cannot be."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgrec.data.decode import decode
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


CORNERS = np.zeros((8, 8, 3), np.uint8)  # red above left, green above right, blue below left, black below right
CORNERS[:4, :4, 0] = CORNERS[:4, 4:, 1] = CORNERS[4:, :4, 2] = 255


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image(tmp_path: Path, kind: str, orientation: int) -> None:
    """Rows and columns are named as in the EXIF standard, by the side of the stored image at which they begin."""
    turned = {
        1: lambda image: image,
        2: np.fliplr,
        3: lambda image: np.rot90(image, 2),
        4: np.flipud,
        5: lambda image: image.transpose(1, 0, 2),
        6: lambda image: np.rot90(image, -1),
        7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
        8: np.rot90,
    }[orientation](CORNERS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(kind, {})
    large = CORNERS.repeat(8, 0).repeat(8, 1)
    Image.fromarray(large).save(tmp_path / f"a.{kind}", exif=exif, **options)
    pixels = decode(tmp_path / f"a.{kind}", 8).astype(int)
    # the filter reaches over the edges between the quarters
    assert abs(pixels[[0, 0, -1, -1], [0, -1, 0, -1]] - turned[[0, 0, -1, -1], [0, -1, 0, -1]]).max() < 20


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(CORNERS).save(tmp_path / "a.png", exif=exif)
    assert (decode(tmp_path / "a.png", 8) == CORNERS).all()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 0), (255, 255, 255)),
        ("LA", (90, 255), (90, 90, 90)),
        ("RGBA", (200, 10, 20, 255), (200, 10, 20)),
        ("RGBA", (200, 10, 20, 0), (255, 255, 255)),
        ("I;16", 200 << 8, (200, 200, 200)),
    ],
)
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_every_mode_becomes_rgb_on_white(
    tmp_path: Path, mode: str, colour: object, expected: tuple[int, ...], kind: str
) -> None:
    Image.new(mode, (9, 8), colour).save(tmp_path / f"a.{kind}")
    assert (decode(tmp_path / f"a.{kind}", 8) == expected).all()


@pytest.mark.parametrize("transparency", [None, 0, b"\0"])
@pytest.mark.parametrize("kind", ["png", "bmp", "tif"])
def test_palettes(tmp_path: Path, transparency: int | bytes | None, kind: str) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    Image.Image.save(image, tmp_path / f"a.{kind}", **({} if transparency is None else {"transparency": transparency}))
    clear = kind == "png" and transparency is not None
    assert (decode(tmp_path / f"a.{kind}", 8) == ((255, 255, 255) if clear else (10, 20, 30))).all()


def test_colours_of_16_bits(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    row = b"\0" + struct.pack(">HHH", 200 << 8, 100 << 8 | 255, 7) * 8
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    assert (decode(tmp_path / "a.png", 8) == (200, 100, 0)).all()


def test_cmyk_jpegs(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert abs(decode(tmp_path / "a.jpg", 8).astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("kind", ["webp", "png", "tif"])
def test_the_first_of_several_frames(tmp_path: Path, kind: str) -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    options = {"lossless": True} if kind == "webp" else {}
    red.save(tmp_path / f"a.{kind}", save_all=True, append_images=[blue, blue], **options)
    assert (decode(tmp_path / f"a.{kind}", 8) == (255, 0, 0)).all()


def test_bands_of_a_large_image_are_the_whole(tmp_path: Path) -> None:
    """An image with a side of 1 200 is converted in two bands. At its own size nothing is scaled."""
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 4), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "clear.png", compress_level=1)
    Image.fromarray(noise[..., :2].copy().view("<u2")[..., 0]).save(tmp_path / "grey.png", compress_level=1)
    white = Image.new("RGBA", (1200, 1200), "white")
    whole = np.asarray(Image.alpha_composite(white, Image.fromarray(noise)).convert("RGB"))
    assert (decode(tmp_path / "clear.png", 1200) == whole).all()
    assert (decode(tmp_path / "grey.png", 1200) == noise[..., 1:2]).all()


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


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_names_pixels_of_32_bits(tmp_path: Path, kind: str) -> None:
    Image.fromarray(np.ones((8, 8), kind)).save(tmp_path / "a.tif")
    with pytest.raises(ReadError, match=r"got: pixels of mode [IF], which have no stated range; replace"):
        decode(tmp_path / "a.tif", 8)


def test_names_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="No such file or directory"):
        decode(tmp_path / "gone.png", 8)


def test_what_follows_a_jpeg_in_its_file_is_of_no_matter(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / "moving.jpg", quality=95)
    with (tmp_path / "moving.jpg").open("ab") as file:
        file.write(b"\xff\xda" * 2000)  # a video, as phones put one behind a photograph
    assert (abs(decode(tmp_path / "moving.jpg", 8).astype(int) - 90) < 3).all()
