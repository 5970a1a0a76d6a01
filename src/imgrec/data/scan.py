"""Which images a folder holds, and of which class each is. No torch, no image is opened."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from omegaconf import MISSING

from imgrec.data.files import Files
from imgrec.errors import RunError, UsageError, shown

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
SPLITS = ("train", "val", "test")

_NOWHERE = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)  # where a link may lead, besides to what does not exist


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
    folders, _ = _entries(top)
    split = [name for name in SPLITS if name in folders and _entries(top / name)[0]]
    if not split:
        classes = _classes(top)
        return Listing(root=top, classes=classes, train=_files(top, "", classes), val=None, test=None, ignored=())
    if "train" not in split:
        raise RunError(
            f"{shown(top)}: a data set with {split[0]}/ must have train/ with class folders too, got "
            f"{_some(tuple(folders))}; add train/, or put the class folders directly into {shown(top)} to have it split"
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


def _files(root: Path, split: str, classes: tuple[str, ...]) -> Files:
    """The images of one split; '' where root holds the classes itself."""
    folder = root / split
    names, _ = _entries(folder)
    for name in names:
        if name not in classes:
            raise RunError(
                f"{shown(folder / name)}: every class of {split}/ must be one of train/ ({_some(classes)}), got "
                f"{name!r}; rename or remove it, or add it to train/"
            )
    prefix = f"{split}/" if split else ""
    return Files((prefix + path, classes.index(name)) for name in names for path in _images(folder, name))


def _images(folder: Path, name: str) -> list[str]:
    """The images of one class, sorted, relative to `folder`."""
    images = []
    others = 0
    for path in _walk(folder, name):
        if os.path.splitext(path)[1].lower().removeprefix(".") in EXTENSIONS:  # noqa: PTH122 - a Path costs 500 bytes
            images.append(path)
        else:
            others += 1
    if not images:
        got = f"{others} files of other kinds" if others else "an empty folder"
        raise RunError(
            f"{shown(folder / name)}: a class folder must hold at least 1 image ({', '.join(EXTENSIONS)}), got {got}; "
            f"add images or remove the folder"
        )
    return sorted(images)


def _walk(top: Path, name: str) -> Iterator[str]:
    """Every file below `top/name`, relative to `top`, folder by folder.

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
        folders, files = _entries(top / place)
        pending += [f"{place}/{folder}" for folder in reversed(folders)]
        yield from (f"{place}/{file}" for file in files)


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the visible folders in a folder, sorted, and of its regular files, in no promised order.

    Links count as what they lead to. Pipes, devices, sockets, and links to nowhere are passed over.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is(entry.is_dir):
                    folders.append(entry.name)
                elif _is(entry.is_file):
                    files.append(entry.name)
    except OSError as error:
        _unreadable(folder, error)
    return sorted(folders), files


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
