"""Test invalid data, images, checkpoints, records and names: one line, the right exit code, nothing written."""

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from runs import one_line, tree

Said = tuple[int, str, str]
Spoil = Callable[[Path], object]


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def header(width: int, height: int) -> bytes:
    """A PNG that claims that size, and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def only(content: bytes) -> Spoil:
    """One of the images holds something else."""
    return lambda folder: (folder / "row/00.png").write_bytes(content)


def cut(folder: Path) -> None:
    path = folder / "row/00.png"
    path.write_bytes(path.read_bytes()[:60])


def fifo(folder: Path) -> None:
    empty(folder / "row")
    os.mkfifo(folder / "row/00.png")


def circle(folder: Path) -> None:
    empty(folder / "row")
    (folder / "row/again").symlink_to(folder / "row")


def dangling(folder: Path) -> None:
    empty(folder / "row")
    (folder / "row/00.png").symlink_to("nowhere.png")


def stranger(folder: Path) -> None:
    """A class of val/ that train/ does not have."""
    for split in ("train", "val"):
        shutil.copytree(folder / "row", folder / split / "row")
        shutil.copytree(folder / "column", folder / split / "column")
    shutil.copytree(folder / "diagonal", folder / "val/diagonal")


def no_train(folder: Path) -> None:
    shutil.copytree(folder / "row", folder / "test/row")


def line_break(folder: Path) -> None:
    (folder / "row/00.png").rename(folder / "row/a\nb.png")
    (folder / "row/a\nb.png").write_bytes(b"text")


def bytes_of_no_text(folder: Path) -> None:
    path = folder / os.fsdecode(b"row/\xff\xfe.png")
    (folder / "row/00.png").rename(path)
    path.write_bytes(b"text")


FOLDERS: list[tuple[str, Spoil, str]] = [
    ("an empty folder", empty, "must hold one sub-folder a class, got none"),
    ("a single class", lambda f: [shutil.rmtree(f / name) for name in ("row", "column")], "at least 2 class folders"),
    ("an empty class", lambda f: empty(f / "row"), "must hold at least 1 image"),
    ("a class of text files", lambda f: (empty(f / "row"), (f / "row/a.txt").write_text("")), "1 files of other kinds"),
    ("a class of a pipe", fifo, "must hold at least 1 image"),
    ("a class that holds itself", circle, "must hold at least 1 image"),
    ("a class of a dangling link", dangling, "must hold at least 1 image"),
    ("val/ with a class that train/ lacks", stranger, "every class of val/ must be one of train/"),
    ("test/ without train/", no_train, "must have train/ with class folders too"),
    ("text called .png", only(b"this is text"), "row/00.png"),
    ("an empty file called .png", only(b""), "row/00.png"),
    ("a truncated image", cut, "row/00.png"),
    ("a PNG of 60000 x 60000", only(header(60_000, 60_000)), "row/00.png"),
    ("a PNG without pixels", only(header(64, 64)), "row/00.png"),
    ("a GIF called .png", only(b"GIF89a" + bytes(40)), "row/00.png"),
    ("a pickle called .png", only(b"\x80\x04\x95\x00."), "row/00.png"),
    ("a bad image whose name has a line break", line_break, "row/a\\nb.png"),
    ("a bad image whose name is no text", bytes_of_no_text, "row/"),
]


@pytest.mark.parametrize(("what", "spoil", "sentence"), FOLDERS, ids=[what for what, _, _ in FOLDERS])
def test_a_folder_of_images(
    tiny: list[str],
    tiny_images: Path,
    workplace: Path,
    command: Callable[..., Said],
    outcome: Callable[[str, str], None],
    what: str,
    spoil: Spoil,
    sentence: str,
) -> None:
    shutil.copytree(tiny_images, workplace / "photos")
    spoil(workplace / "photos")
    before = tree(workplace)
    code, out, err = command("train", *tiny, "data.root=photos", "hydra.run.dir=run")
    assert (code, out) == (1, "")
    assert sentence in one_line(err)
    assert not any(Path("run").glob("checkpoints/*"))
    assert {name: seen for name, seen in tree(workplace).items() if not name.startswith("run")} == before
    outcome(what, f"exit {code}: {one_line(err)}")


def text(content: str) -> Spoil:
    return lambda path: (path.unlink(), path.write_text(content))


def resaved(**changes: object) -> Spoil:
    """The same checkpoint with other contents."""

    def spoil(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        state.update(changes)
        path.unlink()
        path.with_name(f"{path.name}.sha256").unlink()
        torch.save({key: value for key, value in state.items() if value is not None}, path)

    return spoil


def wrong_hash(path: Path) -> None:
    path.with_name(f"{path.name}.sha256").write_text("0" * 64 + f"  {path.name}\n")


def no_hash_in_it(path: Path) -> None:
    path.with_name(f"{path.name}.sha256").write_text("")


CHECKPOINTS: list[tuple[str, Spoil, str]] = [
    ("text called last.ckpt", text("hello"), "last.ckpt must have the SHA-256 in last.ckpt.sha256"),
    ("a wrong .sha256", wrong_hash, "last.ckpt must have the SHA-256 in last.ckpt.sha256"),
    ("an empty .sha256", no_hash_in_it, "last.ckpt.sha256 must hold a SHA-256"),
    ("another program's checkpoint", resaved(imgrec=None), "last.ckpt"),
    ("a checkpoint without weights", resaved(state_dict=None), "last.ckpt"),
    ("a checkpoint with another network's weights", resaved(state_dict={"a": torch.zeros(1)}), "last.ckpt"),
    ("a checkpoint that says nothing of its run", resaved(imgrec={}), "last.ckpt"),
    ("a checkpoint whose note is a number", resaved(imgrec=3), "last.ckpt"),
]


@pytest.mark.parametrize(("what", "spoil", "sentence"), CHECKPOINTS, ids=[what for what, _, _ in CHECKPOINTS])
@pytest.mark.parametrize("verb", ["evaluate", "resume"])
def test_a_checkpoint(
    finished: Path,
    workplace: Path,
    command: Callable[..., Said],
    outcome: Callable[[str, str], None],
    what: str,
    spoil: Spoil,
    sentence: str,
    verb: str,
) -> None:
    spoil(finished / "checkpoints/last.ckpt")
    before = tree(workplace)
    if verb == "evaluate":
        code, out, err = command("evaluate", "run", "--at", "last")
    else:
        longer = ("trainer.max_epochs=2", "resume_override=[trainer.max_epochs]")
        code, out, err = command("train", "resume=run", *longer, "hydra.run.dir=more")
    # with other weights, the checkpoint or the command may be the wrong one
    assert (code, out) == (2 if verb == "resume" and "network's weights" in what else 1, "")
    assert sentence in one_line(err) or "holds no whole checkpoint" in one_line(err)
    assert {name: seen for name, seen in tree(workplace).items() if not name.startswith("more")} == before
    assert not list(Path("more").glob("checkpoints/*"))
    outcome(f"{what}: {verb}", f"exit {code}: {one_line(err)}")


def changed(**changes: object) -> Spoil:
    def spoil(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


RECORDS: list[tuple[str, Spoil, str]] = [
    ("text", lambda path: path.write_text("hello"), "record.json must be a record that imgrec wrote"),
    ("an empty file", lambda path: path.write_text(""), "record.json must be a record that imgrec wrote"),
    ("bytes that are no text", lambda path: path.write_bytes(b"\xff\xfe\x00"), "must be a record that imgrec wrote"),
    ("a list", lambda path: path.write_text("[]"), "record.json must be a record that imgrec wrote"),
    ("a schema to come", changed(schema=9), "schema must be 1, got 9"),
    ("scores of another kind", changed(scores=3), "record.json must be a record that imgrec wrote"),
    ("a folder", lambda path: (path.unlink(), path.mkdir()), "got it is a folder, which is no regular file"),
]


@pytest.mark.parametrize(("what", "spoil", "sentence"), RECORDS, ids=[what for what, _, _ in RECORDS])
@pytest.mark.parametrize("words", [("train", "resume=run"), ("verify", "run")], ids=lambda words: words[0])
def test_a_record(
    finished: Path,
    workplace: Path,
    command: Callable[..., Said],
    outcome: Callable[[str, str], None],
    what: str,
    spoil: Spoil,
    sentence: str,
    words: tuple[str, ...],
) -> None:
    spoil(finished / "record.json")
    before = tree(workplace)
    code, out, err = command(*words)
    assert (code, out) == (1, "")
    assert sentence in one_line(err)
    assert tree(workplace) == before
    outcome(f"record.json is {what}: {words[0]}", f"exit {code}: {one_line(err)}")


NAMES: list[tuple[str, int, str]] = [
    ("hydra.run.dir=" + "x" * 300, 2, "cannot be a run's folder: File name too long; give another path"),
    ("hydra.run.dir=" + "d/" * 2500, 2, "cannot be a run's folder: File name too long; give another path"),
    ("hydra.run.dir=/proc/imgrec", 1, "must be a folder that can be written to"),
    ("hydra.run.dir=/dev/null", 1, "must be a folder that can be written to"),
    ("hydra.run.dir=/dev/null/run", 1, "must be a folder that can be written to"),
    ("data.root=/dev/null", 2, "data.root must be a folder of images, got '/dev/null', which is a file"),
    ("data.root='a\nb'", 2, "data.root must be a folder of images"),
    ("data.root=''", 2, "data.root"),
    ("data.image_size=0", 2, "data.image_size"),
    ("data.image_size=1000000", 2, "data.image_size"),
    ("data.num_workers=100000", 2, "data.num_workers"),
    ("trainer.threads=1000000", 2, "trainer.threads"),
    ("model.widths=[0]", 2, "model.widths"),
    ("model.widths=[]", 2, "model.widths"),
    ("trainer.max_epochs=99999999999999999999", 2, "trainer.max_epochs"),
    ("data.val_size=1e9", 2, "data.val_size"),
    ("data.val_size=0.0001", 2, "data.val_size must hold out at least 1 of"),
    ("trainer.early_stopping=2 data.val_size=0", 2, "trainer.early_stopping needs validation images"),
    ("resume=/dev/null", 2, "/dev/null must be a run's folder with a record.json"),
    ("resume=''", 2, "resume must name a run's folder, got ''"),
]


@pytest.mark.parametrize(("word", "expected", "sentence"), NAMES, ids=[word[:40] for word, _, _ in NAMES])
def test_a_name_or_number(
    tiny: list[str],
    workplace: Path,
    command: Callable[..., Said],
    outcome: Callable[[str, str], None],
    word: str,
    expected: int,
    sentence: str,
) -> None:
    code, out, err = command("train", *tiny, *(word.split(" ") if word.startswith("trainer.") else [word]))
    assert sentence in one_line(err)
    assert (code, out) == (expected, "")
    assert tree(workplace) == {}
    outcome(word[:60], f"exit {code}: {one_line(err)}")


def test_an_image_mode_that_has_no_stated_range(
    tiny: list[str],
    tiny_images: Path,
    workplace: Path,
    command: Callable[..., Said],
    outcome: Callable[[str, str], None],
) -> None:
    shutil.copytree(tiny_images, workplace / "photos")
    Image.new("F", (8, 8)).save(workplace / "photos/row/float.tif")
    code, _, err = command("train", *tiny, "data.root=photos", "hydra.run.dir=run")
    assert code == 1
    assert "row/float.tif" in one_line(err)
    outcome("a TIFF of floats", f"exit {code}: {one_line(err)}")


def test_a_network_that_no_memory_holds(
    tiny: list[str], command: Callable[..., Said], outcome: Callable[[str, str], None]
) -> None:
    code, _, err = command("train", *tiny, "model.hidden=100000000000", "hydra.run.dir=run")
    assert code == 1
    assert "there must be memory for the network and a batch" in one_line(err)
    outcome("model.hidden=100000000000", f"exit {code}: {one_line(err)}")
