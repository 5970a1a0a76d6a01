"""Test folders as disks may have them: any names, cyclic links, pipes, deep levels, and very many files."""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from imgrec.components.data.folder import Folder
from imgrec.data.files import Files
from imgrec.data.folder import FolderImages
from imgrec.data.inventory import take
from imgrec.data.scan import scan
from imgrec.data.sources import load
from imgrec.errors import RunError

Draw = Callable[..., list[Path]]
ODD = [b"two\nlines", b'it\'s "quoted"', b"\xff\xfe", b" blank ", b"back\\slash", "snow ☃".encode()]


@pytest.fixture
def root(tmp_path: Path, draw_images: Draw) -> Path:
    """Two classes of three images each."""
    draw_images(tmp_path / "images" / "ant", 3)
    draw_images(tmp_path / "images" / "bee", 3)
    return tmp_path / "images"


def refusal(root: Path) -> str:
    with pytest.raises(RunError) as caught:
        scan(str(root))
    sentence = str(caught.value)
    assert sentence.isprintable()
    return sentence


# ---- names


def test_files_of_any_name_are_found_read_and_fingerprinted(root: Path) -> None:
    odd = [root / "ant" / f"{os.fsdecode(name)}.png" for name in ODD]
    for path in odd:
        path.hardlink_to(root / "ant" / "00.png")
    listing = scan(str(root))
    assert [path for path, label in listing.train if label == 0] == sorted(
        f"ant/{path.name}" for path in (root / "ant").iterdir()
    )
    images = FolderImages(root, listing.train, image_size=8, on_error="raise")
    assert len(images.read(torch.arange(len(images)))[1]) == 6 + len(ODD)
    before = take(Folder(root=str(root))).fingerprint
    odd[2].unlink()
    assert take(Folder(root=str(root))).fingerprint != before


@pytest.mark.parametrize("name", ODD)
def test_classes_of_any_name(root: Path, name: bytes, draw_images: Draw) -> None:
    odd = os.fsdecode(name)
    draw_images(root / odd, 2)
    listing = scan(str(root))
    assert odd in listing.classes
    assert [label for path, label in listing.train if path.startswith(f"{odd}/")]


@pytest.mark.parametrize("name", ODD)
def test_refusals_of_odd_names_stay_on_one_line(root: Path, name: bytes) -> None:
    odd = root / os.fsdecode(name)
    shown = str(odd) if name == ODD[-1] else repr(str(odd))
    odd.mkdir()
    assert refusal(root).startswith(f"{shown}: a class folder must hold at least 1 image")
    assert refusal(odd).startswith(f"{shown}: must hold one sub-folder a class, got none")
    (odd / os.fsdecode(name)).mkdir()
    assert "must hold at least 2 class folders, got 1 (" in refusal(odd)
    (odd / "val" / "a").mkdir(parents=True)
    assert "a data set with val/ must have train/ with class folders too" in refusal(odd)
    for split in ("train/a", "train/b", f"val/{os.fsdecode(name)}"):
        (odd / split).mkdir(parents=True)
        (odd / split / "a.png").write_bytes(b"")
    assert "every class of val/ must be one of train/ (a, b), got " in refusal(odd)


def test_warnings_of_odd_names_stay_on_one_line(
    tmp_path: Path, draw_images: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    draw_images(tmp_path / "train" / "a", 6)
    draw_images(tmp_path / "train" / "b", 6)
    (tmp_path / "two\nlines").mkdir()
    (tmp_path / "train" / "a" / "\udcff\n.png").write_bytes(b"broken")
    source = load(Folder(root=str(tmp_path), image_size=8, on_error="skip", val_size=0, test_size=0))
    source.train.read(torch.arange(len(source.train)))
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2
    assert "ignored: 'two\\nlines'; only" in said[0]
    assert said[1].startswith(f"left out: {str(tmp_path / 'train/a')[:-1]!r}"[:-1])
    assert all(line.isprintable() for line in said)


@pytest.mark.slow
def test_a_run_on_classes_of_odd_names(tmp_path: Path, draw_images: Draw) -> None:
    for name in (*ODD, b"$5^$"):
        draw_images(tmp_path / "images" / os.fsdecode(name), 12)
    imgrec = [sys.executable, "-m", "imgrec"]
    words = ["data=folder", "data.root=images", "trainer=cpu", "trainer.max_epochs=1"]
    for command in ([*imgrec, "train", *words], [*imgrec, "evaluate", "RUN"]):
        run = [str(path.parent) for path in tmp_path.glob("outputs/*/*/record.json")]
        command = [word if word != "RUN" else run[0] for word in command]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


# ---- links, pipes, depths


def test_circles_and_links_to_nowhere_are_passed_over(root: Path) -> None:
    before = list(scan(str(root)).train)
    for place in (root, root / "ant"):
        (place / "circle").symlink_to("circle")
        (place / "circle.png").symlink_to("circle.png")
        (place / "nowhere.png").symlink_to("gone.png")
        (place / "through a file.png").symlink_to(root / "bee" / "00.png" / "x.png")
        os.mkfifo(place / "pipe.png")
    (root / "ant" / "self").symlink_to(root / "ant")
    (root / "ant" / "there").mkdir()
    (root / "ant" / "there" / "back").symlink_to(root / "ant" / "again")
    (root / "ant" / "again").symlink_to(root / "ant" / "there")
    assert list(scan(str(root)).train) == before
    take(Folder(root=str(root)))


def test_a_class_folder_of_pipes_is_empty(root: Path) -> None:
    (root / "pipes").mkdir()
    os.mkfifo(root / "pipes" / "a.png")
    assert "got an empty folder; add images or remove the folder" in refusal(root)


@pytest.fixture
def deepen(root: Path) -> Iterator[Callable[[str, int], None]]:
    """Puts folders of one name into each other, in the class `ant`; the last one holds deep.png.

    They go again as they came, without recursion: Python's own removal of the temporary folder would fail.
    """

    def make(name: str, depth: int) -> None:
        here = os.open(root / "ant", os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(name, dir_fd=here)
            deeper = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.link(root / "ant" / "00.png", "deep.png", dst_dir_fd=here)
        os.close(here)

    yield make
    subprocess.run(["rm", "-r", root], check=True)


@pytest.mark.long
def test_folders_deeper_than_python_recurses(root: Path, deepen: Callable[[str, int], None]) -> None:
    """1 300 folders of one letter fit into the 4 096 bytes that Linux allows for a path."""
    deepen("d", 1300)
    listing = scan(str(root))
    assert ("ant/" + "d/" * 1300 + "deep.png", 0) in listing.train
    images = FolderImages(root, listing.train, image_size=8, on_error="raise")
    assert len(images.read(torch.arange(len(images)))[1]) == 7


def test_folders_deeper_than_a_path_may_be_long_are_refused(root: Path, deepen: Callable[[str, int], None]) -> None:
    deepen("d" * 200, 30)
    assert "must be readable, got File name too long;" in refusal(root)


def test_a_folder_that_cannot_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("ant", "bee"):
            (Path(folder) / name).mkdir(mode=0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)  # nobody: root reads everything
        try:
            assert refusal(Path(folder)) == (
                f"{folder}/ant: must be readable, got Permission denied; correct its permissions"
            )
            assert refusal(Path(folder) / "ant" / "deeper").startswith(f"{folder}/ant/deeper: must be readable, got ")
        finally:
            os.seteuid(before)


# ---- very many


def test_files_are_a_sequence_of_pairs() -> None:
    pairs = [("a/\udcff.png", 0), ("b/ü.png", 1), ("b/z\n.png", 1)]
    files = Files(pairs)
    assert list(files) == pairs == [files[index] for index in range(3)]
    assert (len(files), files[-1], list(files[1:])) == (3, pairs[2], pairs[1:])
    assert list(files.take([2, 0])) == [pairs[2], pairs[0]]
    assert files.labels_n.tolist() == [0, 1, 1]
    assert (len(Files()), list(Files())) == (0, [])
    for outside in (3, -4):
        with pytest.raises(IndexError):
            files[outside]


@pytest.fixture
def many(root: Path) -> Path:
    """100 000 images in two classes, half of them in one folder: links to six files, 20 000 to a file at most."""
    images = sorted(root.glob("*/*.png"))
    for number in range(100_000 - len(images)):
        place = root / ("ant" if number % 2 else f"bee/part {number % 100:02}")
        place.mkdir(exist_ok=True)
        os.link(images[number % len(images)], place / f"photo {number:06}.png")
    return root


@pytest.mark.slow
def test_memory_stays_flat_with_100_000_files(many: Path) -> None:
    """Both bounds are for the resident memory of a separate process: its peak per file, and its growth by reading."""
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from imgrec.data.folder import FolderImages\n"
        "from imgrec.data.scan import scan\n"
        "def kilobytes(field):\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return int(next(line for line in lines if line.startswith(field)).split()[1])\n"
        "Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here\n"
        "before = kilobytes('VmRSS')\n"
        "listing = scan(sys.argv[1])\n"
        "images = FolderImages(listing.root, listing.train, image_size=8, on_error='raise')\n"
        "peak = kilobytes('VmHWM')\n"
        "draw = torch.Generator().manual_seed(0)\n"
        "def read():\n"
        "    for _ in range(200):\n"
        "        images.read(torch.randint(len(images), (100,), generator=draw))\n"
        "read()\n"
        "warm = kilobytes('VmRSS')\n"
        "read()\n"
        "print(len(images), (peak - before) * 1024 / len(images), kilobytes('VmRSS') - warm)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, many], capture_output=True, text=True, check=True)
    count, per_file, growth = map(float, done.stdout.split())
    print(f"{per_file:.0f} bytes a file, {growth:.0f} kB for reading")
    assert count == 100_000
    assert per_file < 400
    assert growth < 1024
