"""Describe a data set without loading it: its fingerprint, part of a run's identity, and a folder's files. No torch."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgrec.config.data import Data
from imgrec.data import contents
from imgrec.data.contents import Contents
from imgrec.data.files import Files
from imgrec.data.scan import Listing, scan
from imgrec.data.trained import Briefs
from imgrec.errors import RunError, UsageError, shown

# SHA-256 over scikit-learn's 1797x8x8 values, the labels, and the version of our upsampling; a test recomputes it
DIGITS_UPSAMPLING = b"bilinear, integer, 1"
DIGITS = "1f86ee08059fec0e78b68f3780bb7c2abd42a014b37ddd0cc26d4038332d40d0"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The state of a data set at one moment.

    It takes seconds for a folder of many files, so it is made once and passed on.
    """

    fingerprint: str
    """64 hexadecimal digits that change when the images change."""
    listing: Listing | None = None
    """The files of a folder; None for other data."""
    file: Path | None = None
    """The file that holds all images, where it is one; None for other data."""
    contents: Contents | None = None
    """The contents of a folder's images, in the order of their sorted paths; or those of `file`."""
    older: "Inventory | None" = None
    """The same folder with a fingerprint of names and sizes only, as in older records."""
    by_contents: bool = True
    """False for a folder whose fingerprint is of names and sizes only."""

    def briefs(self, files: Files) -> Briefs:
        """Return 8 bytes of each file's digest, in the order of `files`; 0 for one that cannot be read."""
        assert self.listing is not None, "of a folder"
        assert self.contents is not None, "of a folder"
        places = {path: place for place, path in enumerate(sorted(self.listing.paths()))}
        brief_n = self.contents.brief_n()
        return brief_n[np.array([places[path] for path, _ in files], np.int64)]

    def known_as(self, fingerprint: str) -> "Inventory | None":
        """Return this data set in the form that has a recorded fingerprint; None if no form has it."""
        known = (self, self.older)
        return next((one for one in known if one is not None and one.fingerprint == fingerprint), None)


def take(cfg: Data) -> Inventory:
    """Return the inventory of the data that `cfg` names.

    Raises:
        UsageError: The data cannot be read as configured.
        RunError: The data cannot be read.
    """
    found = cfg.look()
    if found is not None:
        return found
    told = f"{cfg.name}\n{cfg.fingerprint()}"
    return Inventory(fingerprint=hashlib.sha256(told.encode()).hexdigest())


def check_unchanged(seen: Inventory) -> None:
    """Refuse images whose files have changed since their inventory was made. Only files of changed state are read.

    Raises:
        RunError: An image has changed.
    """
    if seen.contents is None:
        return
    if seen.file is not None:
        root, paths = seen.file.parent, [seen.file.name]
    else:
        assert seen.listing is not None, "of a folder"
        root, paths = seen.listing.root, sorted(seen.listing.paths())
    if other := contents.changed(root, paths, seen.contents):
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise RunError(
            f"{shown(root)}: the images must stay as they are until a run has ended, and {shown(other[0])}{more} have"
            " changed since it began; restore them and start the same command again, which goes on from its last"
            " checkpoint, or start it over the new images, which is another run"
        )


def of_folder(root: str) -> Inventory:
    """Return the inventory of a folder of images.

    Its fingerprint is SHA-256 over the sorted relative paths of its images and the SHA-256 of each one's bytes. It does
    not depend on where the folder is.

    Raises:
        UsageError: As in `scan`.
        RunError: As in `scan` and `contents.read`.
    """
    listing = scan(root)
    paths, found = _read(listing)
    digest = hashlib.sha256(b"contents\n")
    for index, path in enumerate(paths):
        digest.update(b"%s\0%s\n" % (os.fsencode(path), found.digest(index)))
    older = _older(root, listing, paths, found)
    return Inventory(fingerprint=digest.hexdigest(), listing=listing, contents=found, older=older)


def of_file(path: str) -> Inventory:
    """Return the inventory of a single file of images.

    Its fingerprint is SHA-256 over the SHA-256 of its bytes. It does not depend on the file's name and place.

    Raises:
        UsageError: There is no such file.
        RunError: As in `contents.read`, or the file cannot be read.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise UsageError(f"data.root must be a file of images, and {shown(place)} is none; add data.root=FILE")
    found = contents.read(place.parent, [place.name])
    if not any(found.digest(0)):
        raise RunError(f"{shown(place)} cannot be read; restore its permissions, or name another file")
    return Inventory(fingerprint=hashlib.sha256(b"file\n" + found.digest(0)).hexdigest(), file=place, contents=found)


def _older(root: str, listing: Listing, paths: list[str], found: Contents) -> Inventory | None:
    """Return the folder's inventory as older records know it.

    Returns:
        None if an older version would have found other classes, or no data set.
    """
    if listing.left or any(name != split for split, name in listing.folders.items()):
        try:
            before = scan(root, usual=False)
        except (RunError, UsageError):
            return None
        if before.classes != listing.classes:
            return None
        listing = before
        paths, found = _read(listing)
    digest = hashlib.sha256()
    for path, size in zip(paths, found.sizes(), strict=True):
        digest.update(b"%s\0%d\n" % (os.fsencode(path), size))
    return Inventory(fingerprint=digest.hexdigest(), listing=listing, contents=found, by_contents=False)


def _read(listing: Listing) -> tuple[list[str], Contents]:
    """Return the sorted paths of the images, and their contents."""
    paths = sorted(listing.paths())
    return paths, contents.read(listing.root, paths)
