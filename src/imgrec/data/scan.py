"""List which images a folder contains, and the class of each. Imports no torch, and opens no image."""

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
_SHOWN = 3  # names of files of other kinds that are listed
_USUAL = ("thumbs.db", "desktop.ini")  # Windows writes these into folders; macOS' .DS_Store is hidden
_RUN = {"record.json", "config.yaml"}  # files in the folder of every run
_NOWHERE = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)  # errors of a link that leads nowhere, besides ENOENT


@dataclass(frozen=True, kw_only=True)
class Others:
    """Files of other kinds below the folders: their number, and the first names.

    Hidden files, files that systems leave behind, and files behind links to folders are not counted.
    """

    count: int
    names: tuple[str, ...]
    """Relative to root; a folder's files come before those of its sub-folders."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images under `root`."""

    root: Path
    classes: tuple[str, ...]
    """Names of the class folders, sorted; a class's number is its position here."""
    train: Files
    """All images, where the folder has no splits of its own. Each split is ordered by class, then path."""
    val: Files | None
    test: Files | None
    ignored: tuple[str, ...]
    """Sub-folders of root that belong to no split."""
    others: Others
    folders: Mapping[str, str]
    """Which sub-folder of root each split was read from; empty where root holds the classes itself."""
    left: tuple[str, ...]
    """Folders that a system left behind, which were skipped; relative to root."""
    inner: tuple[str, ...]
    """The sub-folders that every class folder of the training images has, if they contain all images."""

    def paths(self) -> Iterator[str]:
        """Yield the relative path of every image, in no particular order."""
        for files in (self.train, self.val or Files(), self.test or Files()):
            yield from (path for path, _ in files)


@dataclass(kw_only=True)
class _Found:
    """What was found during the scan.

    Attributes:
        usual: True to accept the folder names that earlier versions did not know.
        others: Files of other kinds.
        left: Folders that systems left behind.
        inner: The sub-folders of each class folder.
    """

    usual: bool
    others: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    inner: list[set[str]] = field(default_factory=list)


def scan(root: str, *, usual: bool = True) -> Listing:
    """List the images under `root`.

    `root` contains either one folder for each class, or folders of splits (`layout.NAMES`) that contain class folders.
    A folder is a split only if it has sub-folders. An image may be at any depth inside its class folder. Hidden files
    and folders, and those that systems leave behind, are skipped. Links are followed, and each real folder is entered
    once for each class.

    Args:
        root: The folder.
        usual: False to read it as earlier versions did, which knew only train/, val/ and test/, and skipped only hidden
            files.

    Raises:
        UsageError: `root` is no folder.
        RunError: `root` is no image data set: it has no class folder or only one, a class folder has no images or
            contains runs, or val/ or test/ exist without train/ or with classes that train/ lacks.
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
            f"{_join(tuple(folders))}; add train/, or put the class folders directly into {shown(top)} to have it split"
        )
    classes = _classes(top / split.get("train", ""), found)
    listed = {name: _files(top, folder, classes, found) for name, folder in (split or {"train": ""}).items()}
    return Listing(
        root=top,
        # the same texts in any locale, as with LC_ALL=C and without UTF-8 mode Python reads names as ASCII
        classes=tuple(os.fsencode(name).decode("utf-8", "surrogateescape") for name in classes),
        train=listed["train"],
        val=listed.get("val"),
        test=listed.get("test"),
        ignored=tuple(name for name in folders if name not in split.values()) if split else (),
        others=Others(count=len(found.others), names=tuple(heapq.nsmallest(_SHOWN, found.others, key=_walk_order))),
        folders=split,
        left=tuple(sorted({os.path.relpath(path, top) for path in found.left})),
        inner=_common_names(found.inner),
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
    """Return the images of the split in that folder; '' if root contains the classes itself."""
    folder = root / split
    names, files, rest = _entries(folder, found)
    for name in names:
        if name not in classes:
            raise RunError(
                f"{shown(folder / name)}: every class of {split}/ must be one of train/ ({_join(classes)}), got "
                f"{name!r}; rename or remove it, or add it to train/"
            )
    if split:
        found.others += _others(root, split, files + rest)
    prefix = f"{split}/" if split else ""
    return Files((path, classes.index(name)) for name in names for path in _images(root, prefix + name, found))


def _images(root: Path, place: str, found: _Found) -> list[str]:
    """Return the images of the class in `root/place`, sorted, relative to `root`."""
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


def _common_names(inner: list[set[str]]) -> tuple[str, ...]:
    """Return the names that all sets consist of.

    Returns:
        Nothing where the sets differ, or for a single name, which distinguishes nothing.
    """
    alike = len(inner) > 1 and all(names == inner[0] for names in inner) and len(inner[0]) > 1
    return tuple(sorted(inner[0])) if alike else ()


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower().removeprefix(".") in EXTENSIONS  # noqa: PTH122 - a Path costs 500 bytes


def _others(root: Path, folder: str, names: list[str]) -> list[str]:
    """Return those of the names in `root/folder` that `Others` counts, relative to `root`."""
    found = [f"{folder}/{name}" for name in names if not _is_image(name) and name.lower() not in _USUAL]
    return found if found and (root / folder).resolve() == root.resolve() / folder else []


def _walk_order(path: str) -> list[tuple[bool, str]]:
    """Return a sort key that puts paths in the order of a walk."""
    *folders, name = path.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def _walk(top: Path, name: str, found: _Found) -> Iterator[tuple[str, list[str], list[str], list[str]]]:
    """Yield every folder from `top/name` on, relative to `top`, with the results of `_entries`.

    A folder that was already visited, also through a link, is not entered again. A list of pending folders replaces
    recursion, which fails at a depth of some hundred folders.
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
    """Return the names of a folder's visible entries: folders (sorted), regular files, and the rest (both unsorted).

    A link counts as what it leads to. The rest are pipes, devices, sockets, and links to nowhere.
    """
    folders, files, rest = [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _has_kind(entry.is_dir):
                    if found.usual and layout.is_left(entry.name):
                        found.left.append(entry.path)
                    else:
                        folders.append(entry.name)
                elif _has_kind(entry.is_file):
                    files.append(entry.name)
                else:
                    rest.append(entry.name)
    except OSError as error:
        _unreadable(folder, error)
    return sorted(folders), files, rest


def _has_kind(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError as error:
        if error.errno in _NOWHERE:
            return False
        raise


def _unreadable(folder: Path, error: OSError) -> Never:
    raise RunError(f"{shown(folder)}: must be readable, got {error.strerror}; correct its permissions") from error


def _join(names: tuple[str, ...]) -> str:
    return ", ".join(shown(name) for name in names[:5]) + (f", ... {len(names)} in all" if len(names) > 5 else "")
