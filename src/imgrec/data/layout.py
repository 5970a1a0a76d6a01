"""Interpret the names of folders: which are splits, and which were left behind by a system. Imports no torch."""

from collections.abc import Mapping, Sequence

from imgrec.errors import RunError, shown

SPLITS = ("train", "val", "test")
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The usual names of each split's folder, in small letters; upper and lower case are not distinguished."""

_SYSTEM_FOLDERS = {
    "__macosx",  # macOS, in zip archives
    "__pycache__",  # Python
    "lost+found",  # the root of Linux' file systems
    "$recycle.bin",  # Windows, as the next two
    "recycler",
    "system volume information",
    "network trash folder",  # Apple's file sharing, as the next one
    "temporary items",
    "@eadir",  # Synology: thumbnails, which are images
    "#recycle",
    "#snapshot",
    "@recycle",  # QNAP
    "@recently-snapshot",
}


def is_left(name: str) -> bool:
    """Return True for a folder that an operating system or a tool made, whatever it contains."""
    return name.lower() in _SYSTEM_FOLDERS


def split_of(name: str) -> str | None:
    """Return the split that a folder of that name usually contains; None for other names."""
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def splits(folders: Sequence[str], with_folders: Sequence[str], root: str, *, usual: bool) -> Mapping[str, str]:
    """Return which of a root's folders contain which split; empty if they are the class folders themselves.

    Names other than train, val and test are accepted only if a training split and another split are there, or if there
    are no other folders.

    Args:
        folders: All folders of the root.
        with_folders: Those that contain folders, as a split does.
        root: The root's name for messages.
        usual: True to accept names other than train, val and test.

    Raises:
        RunError: There are several folders of one split, and none of them has the plain name.
    """
    exact = [name for name in SPLITS if name in with_folders]
    if not usual:
        return {name: name for name in exact}
    found: dict[str, list[str]] = {}
    for name in with_folders:
        if split := split_of(name):
            found.setdefault(split, []).append(name)
    alone = all(split_of(name) for name in folders)
    if not (exact or ("train" in found and len(found) > 1) or (found and alone)):
        return {}
    chosen = {}
    for split in SPLITS:
        names = [split] if split in exact else found.get(split, [])
        if len(names) > 1:
            raise RunError(
                f"{root}: must hold one folder of {split} images, got {', '.join(map(shown, names))}; name the right"
                f" one {split}, or merge them"
            )
        if names:
            chosen[split] = names[0]
    return chosen
