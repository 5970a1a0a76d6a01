"""Which images a folder holds, and of which class each is. No torch, no image is opened."""

import errno
import heapq
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never

from omegaconf import MISSING

from imgrec.data import layout
from imgrec.data.files import Files
from imgrec.errors import RunError, UsageError, shown

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
_SHOWN = 3  # names of files of other kinds that are kept
_USUAL = ("thumbs.db", "desktop.ini")  # what Windows leaves in every folder; macOS' .DS_Store is hidden
_RUN = {"record.json", "config.yaml"}  # what every run's folder holds
_NOWHERE = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)  # where a link may lead, besides to what does not exist


@dataclass(frozen=True, kw_only=True)
class Others:
    """Files of other kinds below the folders: how many, and the first names.

    Hidden files, what systems leave, and what lies behind links to folders are not counted.
    """

    count: int
    names: tuple[str, ...]
    """Relative to root; a folder's files come before its sub-folders'."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images under `root`."""

    root: Path
    classes: tuple[str, ...]
    """Names of the class folders, sorted; a class's number is its place here."""
    train: Files
    """Everything, where the folder has no splits of its own. Each split is ordered by class, then path."""
    val: Files | None
    test: Files | None
    ignored: tuple[str, ...]
    """Sub-folders of root that belong to no split."""
    others: Others
    folders: Mapping[str, str]
    """Which sub-folder of root each split was read from; empty where root holds the classes itself."""
    left: tuple[str, ...]
    """Folders that a system left behind, which were passed over; relative to root."""
    inner: tuple[str, ...]
    """The sub-folders that every class folder of the training images has, where those hold all images."""

    def paths(self) -> Iterator[str]:
        """The relative path of every image, in no promised order."""
        for files in (self.train, self.val or Files(), self.test or Files()):
            yield from (path for path, _ in files)


@dataclass(kw_only=True)
class _Found:
    """What comes to light on the way. usual: names that earlier versions did not know count."""

    usual: bool
    others: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    inner: list[set[str]] = field(default_factory=list)


def scan(root: str, *, usual: bool = True) -> Listing:
    """List the images under `root`.

    Either `root` holds one folder a class, or folders of splits (`layout.NAMES`) which hold them; such a folder counts
    as a split when it has sub-folders itself. An image may lie deeper inside its class folder; hidden files and folders
    are passed over, and what systems leave behind; links are followed, each real folder once a class.
    usual: False reads it as earlier versions did, which knew train/, val/ and test/ and what is hidden alone.

    Raises UsageError when `root` is no folder, RunError when what it holds is no image data set: no class folder, one
    class only, a class folder without images or with runs, val/ or test/ without train/ or with classes that train/
    lacks.
    """
    if root == MISSING:
        raise UsageError("data.root must be given for data=folder: the folder of images, one sub-folder a class")
    top = Path(root).expanduser()
    try:
        there = top.is_dir(), top.exists()
    except OSError as error:
        _unreadable(top, error)
    if not there[0]:
        what = "a file" if there[1] else "nothing there"
        raise UsageError(
            f"data.root must be a folder of images, got {root!r}, which is {what}", way_out="correct the path"
        )
    found = _Found(usual=usual)
    folders = _entries(top, found)[0]
    may_be = [name for name in folders if layout.split_of(name)]
    split = layout.splits(folders, [name for name in may_be if _entries(top / name, found)[0]], shown(top), usual=usual)
    if split and "train" not in split:
        raise RunError(
            f"{shown(top)}: a data set with {next(iter(split.values()))}/ must have train/ with class folders too, got "
            f"{_some(tuple(folders))}; add train/, or put the class folders directly into {shown(top)} to have it split"
        )
    classes = _classes(top / split.get("train", ""), found)
    listed = {name: _files(top, folder, classes, found) for name, folder in (split or {"train": ""}).items()}
    return Listing(
        root=top,
        # the same texts in any locale: LC_ALL=C without Python's UTF-8 mode reads names as ASCII
        classes=tuple(os.fsencode(name).decode("utf-8", "surrogateescape") for name in classes),
        train=listed["train"],
        val=listed.get("val"),
        test=listed.get("test"),
        ignored=tuple(name for name in folders if name not in split.values()) if split else (),
        others=Others(count=len(found.others), names=tuple(heapq.nsmallest(_SHOWN, found.others, key=_walked))),
        folders=split,
        left=tuple(sorted({os.path.relpath(path, top) for path in found.left})),
        inner=_shared(found.inner),
    )


def _classes(folder: Path, found: _Found) -> tuple[str, ...]:
    classes = tuple(_entries(folder, found)[0])
    if not classes:
        raise RunError(
            f"{shown(folder)}: must hold one sub-folder a class, got none; sort the images into class folders"
        )
    if len(classes) < 2:
        inner = _entries(folder / classes[0], found)[0]
        way_out = f"choose {shown(folder / classes[0])}" if len(inner) > 1 else "choose the folder above"
        raise RunError(
            f"{shown(folder)}: must hold at least 2 class folders, got 1 ({shown(classes[0])}); add another class, "
            f"or {way_out}"
        )
    return classes


def _files(root: Path, split: str, classes: tuple[str, ...], found: _Found) -> Files:
    """The images of the split in that folder; '' where root holds the classes itself."""
    folder = root / split
    names, files, rest = _entries(folder, found)
    for name in names:
        if name not in classes:
            raise RunError(
                f"{shown(folder / name)}: every class of {split}/ must be one of train/ ({_some(classes)}), got "
                f"{name!r}; rename or remove it, or add it to train/"
            )
    if split:
        found.others += _others(root, split, files + rest)
    prefix = f"{split}/" if split else ""
    return Files((path, classes.index(name)) for name in names for path in _images(root, prefix + name, found))


def _images(root: Path, place: str, found: _Found) -> list[str]:
    """The images of the class in `root/place`, sorted, relative to `root`."""
    images: list[str] = []
    count = 0
    for folder, folders, files, rest in _walk(root, place, found):
        if found.usual and set(files) >= _RUN:
            raise RunError(
                f"{shown(root / place)}: a class folder must hold images, got a run of imgrec in"
                f" {shown(root / folder)}; move it out of {shown(root)}, or keep the images in a folder of their own"
            )
        for name in files:
            if _is_image(name):
                images.append(f"{folder}/{name}")
            else:
                rest.append(name)
                count += 1
        if folder == place:
            found.inner.append(set() if images else set(folders))
        found.others += _others(root, folder, rest)
    if not images:
        got = f"{count} files of other kinds" if count else "an empty folder"
        raise RunError(
            f"{shown(root / place)}: a class folder must hold at least 1 image ({', '.join(EXTENSIONS)}), got {got}; "
            f"add images or remove the folder"
        )
    return sorted(images)


def _shared(inner: list[set[str]]) -> tuple[str, ...]:
    """The names that all sets are made of; none where they differ, or for a single name, which tells nothing apart."""
    alike = len(inner) > 1 and all(names == inner[0] for names in inner) and len(inner[0]) > 1
    return tuple(sorted(inner[0])) if alike else ()


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower().removeprefix(".") in EXTENSIONS  # noqa: PTH122 - a Path costs 500 bytes


def _others(root: Path, folder: str, names: list[str]) -> list[str]:
    """Those of the names in `root/folder` that `Others` counts, relative to `root`."""
    found = [f"{folder}/{name}" for name in names if not _is_image(name) and name.lower() not in _USUAL]
    return found if found and (root / folder).resolve() == root.resolve() / folder else []


def _walked(path: str) -> list[tuple[bool, str]]:
    """What sorts paths as a walk meets them."""
    *folders, name = path.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def _walk(top: Path, name: str, found: _Found) -> Iterator[tuple[str, list[str], list[str], list[str]]]:
    """Every folder from `top/name` on, relative to `top`, with what `_entries` gives of it.

    A folder already seen, through whatever link, is not entered again. A list of what is still to be entered takes
    the place of recursion, which ends at a depth of some hundred folders.
    """
    seen: set[tuple[int, int]] = set()
    pending = [name]
    while pending:
        place = pending.pop()
        try:
            status = (top / place).stat()
        except OSError as error:
            _unreadable(top / place, error)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders, files, rest = _entries(top / place, found)
        pending += [f"{place}/{folder}" for folder in reversed(folders)]
        yield place, folders, files, rest


def _entries(folder: Path, found: _Found) -> tuple[list[str], list[str], list[str]]:
    """The names of what is visible in a folder: folders, sorted; regular files and the rest, in no promised order.

    Links count as what they lead to. The rest are pipes, devices, sockets, and links to nowhere.
    """
    folders, files, rest = [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is(entry.is_dir):
                    if found.usual and layout.is_left(entry.name):
                        found.left.append(entry.path)
                    else:
                        folders.append(entry.name)
                elif _is(entry.is_file):
                    files.append(entry.name)
                else:
                    rest.append(entry.name)
    except OSError as error:
        _unreadable(folder, error)
    return sorted(folders), files, rest


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError as error:
        if error.errno in _NOWHERE:
            return False
        raise


def _unreadable(folder: Path, error: OSError) -> Never:
    raise RunError(f"{shown(folder)}: must be readable, got {error.strerror}; correct its permissions") from error


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(shown(name) for name in names[:5]) + (f", ... {len(names)} in all" if len(names) > 5 else "")
