"""What the names of folders say: which are splits, and which are left behind by systems. No torch."""

from collections.abc import Mapping, Sequence

from imgrec.errors import RunError, shown

SPLITS = ("train", "val", "test")
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The usual names of each split's folder, in small letters; any case counts."""

_LEFT = {
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
    """True for a folder that a system made, whatever it holds."""
    return name.lower() in _LEFT


def split_of(name: str) -> str | None:
    """The split that a folder of that name usually holds."""
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def splits(folders: Sequence[str], with_folders: Sequence[str], root: str, *, usual: bool) -> Mapping[str, str]:
    """Which of a root's folders hold which split; empty where they are the classes themselves.

    folders: all of them; with_folders: those that hold folders, as a split does. usual: also by names other than train,
    val and test. Those are believed where a training split comes with another one, or where there is nothing else.

    Raises RunError for several folders of one split, none of which has the plain name.
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
