"""Which images a folder holds, and of which class each is. No torch, no image is opened."""

import errno
import heapq
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never

from omegaconf import MISSING

from imgrec.data.files import Files
from imgrec.errors import RunError, UsageError, shown

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
SPLITS = ("train", "val", "test")

_SHOWN = 3  # names of files of other kinds that are kept
_USUAL = ("thumbs.db", "desktop.ini")  # what Windows leaves in every folder; macOS' .DS_Store is hidden
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
    folders: Mapping[str, str] = field(default_factory=dict)
    """Which sub-folder of root each split was read from; empty where root holds the classes itself."""

    def paths(self) -> Iterator[str]:
        """The relative path of every image, in no promised order."""
        for files in (self.train, self.val or Files(), self.test or Files()):
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
    try:
        found = top.is_dir(), top.exists()
    except OSError as error:
        _unreadable(top, error)
    if not found[0]:
        what = "a file" if found[1] else "nothing there"
        raise UsageError(f"data.root must be a folder of images, got {root!r}, which is {what}; correct the path")
    folders = _entries(top)[0]
    others: list[str] = []
    split = [name for name in SPLITS if name in folders and _entries(top / name)[0]]
    if not split:
        classes = _classes(top)
        train = _files(top, "", classes, others)
        return Listing(root=top, classes=classes, train=train, val=None, test=None, ignored=(), others=_counted(others))
    if "train" not in split:
        raise RunError(
            f"{shown(top)}: a data set with {split[0]}/ must have train/ with class folders too, got "
            f"{_some(tuple(folders))}; add train/, or put the class folders directly into {shown(top)} to have it split"
        )
    classes = _classes(top / "train")
    listed = {name: _files(top, name, classes, others) for name in split}
    return Listing(
        root=top,
        classes=classes,
        train=listed["train"],
        val=listed.get("val"),
        test=listed.get("test"),
        ignored=tuple(name for name in folders if name not in split),
        others=_counted(others),
        folders={name: name for name in split},
    )


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(_entries(folder)[0])
    if not classes:
        raise RunError(
            f"{shown(folder)}: must hold one sub-folder a class, got none; sort the images into class folders"
        )
    if len(classes) < 2:
        raise RunError(
            f"{shown(folder)}: must hold at least 2 class folders, got 1 ({shown(classes[0])}); add another class, "
            f"or choose the folder above"
        )
    return classes


def _files(root: Path, split: str, classes: tuple[str, ...], others: list[str]) -> Files:
    """The images of one split; '' where root holds the classes itself. Files of other kinds join `others`."""
    folder = root / split
    names, files, rest = _entries(folder)
    for name in names:
        if name not in classes:
            raise RunError(
                f"{shown(folder / name)}: every class of {split}/ must be one of train/ ({_some(classes)}), got "
                f"{name!r}; rename or remove it, or add it to train/"
            )
    if split:
        others += _others(root, split, files + rest)
    prefix = f"{split}/" if split else ""
    return Files((path, classes.index(name)) for name in names for path in _images(root, prefix + name, others))


def _images(root: Path, place: str, others: list[str]) -> list[str]:
    """The images of the class in `root/place`, sorted, relative to `root`. Files of other kinds join `others`."""
    images: list[str] = []
    count = 0
    for folder, files, rest in _walk(root, place):
        for name in files:
            if _is_image(name):
                images.append(f"{folder}/{name}")
            else:
                rest.append(name)
                count += 1
        others += _others(root, folder, rest)
    if not images:
        got = f"{count} files of other kinds" if count else "an empty folder"
        raise RunError(
            f"{shown(root / place)}: a class folder must hold at least 1 image ({', '.join(EXTENSIONS)}), got {got}; "
            f"add images or remove the folder"
        )
    return sorted(images)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower().removeprefix(".") in EXTENSIONS  # noqa: PTH122 - a Path costs 500 bytes


def _others(root: Path, folder: str, names: list[str]) -> list[str]:
    """Those of the names in `root/folder` that `Others` counts, relative to `root`."""
    found = [f"{folder}/{name}" for name in names if not _is_image(name) and name.lower() not in _USUAL]
    return found if found and (root / folder).resolve() == root.resolve() / folder else []


def _counted(others: list[str]) -> Others:
    return Others(count=len(others), names=tuple(heapq.nsmallest(_SHOWN, others, key=_walked)))


def _walked(path: str) -> list[tuple[bool, str]]:
    """What sorts paths as a walk meets them."""
    *folders, name = path.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def _walk(top: Path, name: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Every folder from `top/name` on, relative to `top`, with the names of its files and what else `_entries` gives.

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
        folders, files, rest = _entries(top / place)
        pending += [f"{place}/{folder}" for folder in reversed(folders)]
        yield place, files, rest


def _entries(folder: Path) -> tuple[list[str], list[str], list[str]]:
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
