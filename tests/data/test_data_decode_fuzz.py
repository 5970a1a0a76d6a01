"""Test valid files that are damaged, cut, spliced and resized: each becomes an array or is refused.

As a program (folder, seed, count), the file does so in its own process, with limited memory.
"""

import collections
import io
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SECONDS = 30  # for one file, where milliseconds are usual: a hang, not a speed
MEMORY = 1 << 30  # beyond what the process has mapped before the first file


def valid_files() -> list[bytes]:
    """Small files of all five formats, in the modes, compressions and with the metadata that they have."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    rgb, grey, palette = rgba.convert("RGB"), rgba.convert("L"), rgba.convert("RGB").convert("P")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words " * 20
    animation = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    choices: list[tuple[Image.Image, str, dict[str, object]]] = [
        (rgb, "JPEG", {"exif": exif}),
        (rgb, "JPEG", {"progressive": True, "icc_profile": bytes(300)}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgba, "PNG", {"exif": exif}),
        (palette, "PNG", {"transparency": 3}),
        (rgb, "PNG", animation),
        (rgb, "WEBP", {"exif": exif}),
        (rgba, "WEBP", {"lossless": True}),
        (rgb, "WEBP", animation),
        (rgb, "BMP", {}),
        (palette, "BMP", {}),
        (grey.convert("1"), "TIFF", {"compression": "group4"}),
        *((rgb, "TIFF", {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        (rgb, "TIFF", animation | {"exif": exif}),
    ]
    return [encoded(*choice) for choice in choices]


def encoded(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def mutations(seed: int, count: int) -> Iterator[bytes]:
    """`count` damaged files, the same for the same seed."""
    files = valid_files()
    random = np.random.Generator(np.random.PCG64(seed))
    for _ in range(count):
        content = bytearray(files[random.integers(len(files))])
        for _ in range(random.integers(1, 4)):
            damage(content, files, random)
        yield bytes(content)


def damage(content: bytearray, files: list[bytes], random: np.random.Generator) -> None:
    """One change in place. Half of them hit the first 100 bytes, where headers lie."""
    if not content:
        return
    place = int(random.integers(min(len(content), 100) if random.random() < 0.5 else len(content)))
    match int(random.integers(5)):
        case 0:
            content[place] ^= 1 << int(random.integers(8))
        case 1:
            del content[place:]
        case 2:
            other = files[random.integers(len(files))]
            start = int(random.integers(len(other)))
            content[place:place] = other[start : start + int(random.integers(1, 200))]
        case 3:  # a length, a count or an offset, as one format or the other writes it
            number = int(random.choice([0, 1, 255, 65_535, 2**31 - 1, 2**32 - 1, len(content)]))
            code, largest = [("<H", 0xFFFF), (">H", 0xFFFF), ("<I", 2**32), (">I", 2**32)][random.integers(4)]
            field = struct.pack(code, min(number, largest))
            content[place : place + len(field)] = field
        case 4:
            end = place + int(random.integers(1, 50))
            content[place:place] = content[place:end] * int(random.integers(1, 20))


def main(folder: Path, seed: int, count: int) -> None:
    """Decode them all. An outcome that is neither ends the process, and leaves the file in the folder."""
    from imgrec.data.decode import ReadError, decode

    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY,) * 2)
    path = folder / "image"
    outcomes: collections.Counter[str] = collections.Counter()
    for content in mutations(seed, count):
        path.write_bytes(content)
        signal.alarm(SECONDS)
        outcome = "pixels"
        try:
            pixels = decode(path, 16)
        except ReadError as error:
            outcome, sentence = type(error).__name__, str(error)
        if outcome == "pixels":
            assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
        else:
            assert sentence.isprintable(), sentence
            assert sentence.startswith(f"{str(path)!r}: must be "), sentence
            assert outcome == "ImageError" or "too little memory" in sentence, sentence
        outcomes[outcome] += 1
    print(*sorted(outcomes.items()))
    assert outcomes["pixels"] > count / 20
    assert outcomes["ImageError"] > count / 20


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 300), *(pytest.param(seed, 20_000, marks=pytest.mark.slow) for seed in range(1, 6))]
)
@pytest.mark.long
def test_damaged_files_are_read_or_refused(tmp_path: Path, seed: int, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__, tmp_path, str(seed), str(count)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}; the file is {tmp_path / 'image'}"


def test_the_files_are_valid(tmp_path: Path) -> None:
    from imgrec.data.decode import decode

    for content in valid_files():
        (tmp_path / "image").write_bytes(content)
        assert decode(tmp_path / "image", 16).shape == (16, 16, 3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
