"""Which images a folder holds, and of which class each is. No torch, no image is opened."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from omegaconf import MISSING

from imgrec.errors import RunError, UsageError

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
SPLITS = ("train", "val", "test")

Files = list[tuple[str, int]]
"""Relative POSIX path and class number of each image, ordered by class, then path."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images under `root`."""

    root: Path
    classes: tuple[str, ...]
    """Names of the class folders, sorted; a class's number is its place here."""
    train: Files
    """Everything, where the folder has no splits of its own."""
    val: Files | None
    test: Files | None
    ignored: tuple[str, ...]
    """Sub-folders of root that belong to no split."""

    def paths(self) -> Iterator[str]:
        """The relative path of every image, in no promised order."""
        for files in (self.train, self.val or [], self.test or []):
            yield from (path for path, _ in files)


def scan(root: str) -> Listing:
    """List the images under `root`.

    Either `root` holds one folder a class, or train/ (and val/, test/, or both) which hold them; train/ counts as a
    split when it has sub-folders itself. An image may lie deeper inside its class folder; hidden files and folders
    are passed over; links are followed, each real folder once a class.

    Raises UsageError when `root` is no folder, RunError when what it holds is no image data set: no class folder, one
    class only, an empty class folder, val/ or test/ without train/ or with classes that train/ lacks.
    """
    if root == MISSING:
        raise UsageError("data.root must be given for data=folder: the folder of images, one sub-folder a class")
    top = Path(root).expanduser()
    if not top.is_dir():
        what = "a file" if top.exists() else "nothing there"
        raise UsageError(f"data.root must be a folder of images, got {root!r}, which is {what}; correct the path")
    folders = _folders(top)
    split = [name for name in SPLITS if name in folders and _folders(top / name)]
    if not split:
        classes = _classes(top)
        return Listing(root=top, classes=classes, train=_files(top, "", classes), val=None, test=None, ignored=())
    if "train" not in split:
        raise RunError(
            f"{top}: a data set with {split[0]}/ must have train/ with class folders too, got {', '.join(folders)}; "
            f"add train/, or put the class folders directly into {top} to have it split"
        )
    classes = _classes(top / "train")
    listed = {name: _files(top, name, classes) for name in split}
    return Listing(
        root=top,
        classes=classes,
        train=listed["train"],
        val=listed.get("val"),
        test=listed.get("test"),
        ignored=tuple(name for name in folders if name not in split),
    )


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(_folders(folder))
    if not classes:
        raise RunError(f"{folder}: must hold one sub-folder a class, got none; sort the images into class folders")
    if len(classes) < 2:
        raise RunError(
            f"{folder}: must hold at least 2 class folders, got 1 ({classes[0]}); add another class, "
            f"or choose the folder above"
        )
    return classes


def _files(root: Path, split: str, classes: tuple[str, ...]) -> Files:
    """The images of one split; '' where root holds the classes itself."""
    folder = root / split
    found: Files = []
    for name in _folders(folder):
        if name not in classes:
            raise RunError(
                f"{folder / name}: every class of {split}/ must be one of train/ ({_some(classes)}), got {name!r}; "
                f"rename or remove it, or add it to train/"
            )
        others = 0
        images = []
        for path in _walk(folder / name, set()):
            if path.suffix.lower().removeprefix(".") in EXTENSIONS:
                images.append(path.relative_to(root).as_posix())
            else:
                others += 1
        if not images:
            got = f"{others} files of other kinds" if others else "an empty folder"
            raise RunError(
                f"{folder / name}: a class folder must hold at least 1 image ({', '.join(EXTENSIONS)}), got {got}; "
                f"add images or remove the folder"
            )
        found += [(path, classes.index(name)) for path in sorted(images)]
    return found


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Every file below `folder`; a folder already seen, through whatever link, is not entered again."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        entries = _entries(folder)
    except OSError as error:
        _unreadable(folder, error)
    for entry in entries:
        if entry.is_dir():
            yield from _walk(folder / entry.name, seen)
        elif entry.is_file():
            yield folder / entry.name


def _folders(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in _entries(folder) if entry.is_dir()]
    except OSError as error:
        _unreadable(folder, error)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is visible in a folder, sorted by name."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _unreadable(folder: Path, error: OSError) -> Never:
    raise RunError(f"{folder}: must be readable, got {error.strerror}; correct its permissions") from error


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f", ... {len(names)} in all" if len(names) > 5 else "")
