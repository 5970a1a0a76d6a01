"""Test that fingerprints are equal for equal images, and need no loading."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from imgrec.components.data.cifar10 import Cifar10
from imgrec.components.data.digits import Digits
from imgrec.components.data.folder import Folder
from imgrec.config.data import Data
from imgrec.data.cifar10_files import ARCHIVE_SHA256
from imgrec.data.digits import upsample
from imgrec.data.inventory import DIGITS, DIGITS_UPSAMPLING, take
from imgrec.data.sources import load


def test_cifar10_is_its_archive() -> None:
    assert take(Cifar10(root="/nowhere")).fingerprint == ARCHIVE_SHA256


def test_digits_are_their_pixels_labels_and_upsampling() -> None:
    digits = load_digits()
    content = digits.images.astype(np.uint8).tobytes() + digits.target.astype(np.uint8).tobytes() + DIGITS_UPSAMPLING
    assert take(Digits()).fingerprint == DIGITS == hashlib.sha256(content).hexdigest()


def test_another_upsampling_asks_for_another_version() -> None:
    pixels = upsample(load_digits().images.astype(np.int64))
    assert (
        hashlib.sha256(pixels.tobytes()).hexdigest()
        == "bb72a09dcb2ae2a1b0982e3afd2dbfdacb70a8f0ecbc4e358dde826df0556987"
    ), "change DIGITS_UPSAMPLING, DIGITS, and this"


def test_a_folder_is_its_paths_and_contents(tmp_path: Path, draw_images: Callable[..., list[Path]]) -> None:
    for place in ("here", "there"):
        draw_images(tmp_path / place / "a", 2)
        draw_images(tmp_path / place / "b", 2)
    here, there = (Folder(root=str(tmp_path / place)) for place in ("here", "there"))
    before = take(here).fingerprint
    assert before == take(there).fingerprint
    names = ("a/00.png", "a/01.png", "b/00.png", "b/01.png")
    lines = b"".join(
        name.encode() + b"\0" + hashlib.sha256((tmp_path / "here" / name).read_bytes()).digest() + b"\n"
        for name in names
    )
    assert before == hashlib.sha256(b"contents\n" + lines).hexdigest()
    sizes = "".join(f"{name}\0{(tmp_path / 'here' / name).stat().st_size}\n" for name in names)
    older = take(here).older
    assert older is not None
    assert older.fingerprint == hashlib.sha256(sizes.encode()).hexdigest(), "what older records have"
    (tmp_path / "here" / "a" / "notes.txt").write_text("no image")
    assert take(here).fingerprint == before
    (tmp_path / "here" / "a" / "00.png").rename(tmp_path / "here" / "a" / "02.png")
    assert take(here).fingerprint != before
    with (tmp_path / "there" / "a" / "00.png").open("ab") as file:
        file.write(b"x")
    assert take(there).fingerprint != before


def test_a_data_set_that_defines_nothing_is_refused() -> None:
    for function in (take, load):
        with pytest.raises(TypeError, match="abstract class Data"):
            function(Data(name="mnist"))


def test_needs_no_torch() -> None:
    code = "import sys, imgrec.data.inventory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
