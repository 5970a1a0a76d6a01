"""What a data set is, without loading it: its hash, part of a run's identity, and a folder's files. No torch."""

import hashlib
from dataclasses import dataclass

from imgrec.config.data import Cifar10, Data, Digits, Folder
from imgrec.data.cifar10_files import ARCHIVE_SHA256
from imgrec.data.scan import Listing, scan
from imgrec.errors import RunError, UsageError, shown

# SHA-256 over scikit-learn's 1797x8x8 values, the labels, and the version of our upsampling; a test computes it anew
DIGITS_UPSAMPLING = b"bilinear, integer, 1"
DIGITS = "1f86ee08059fec0e78b68f3780bb7c2abd42a014b37ddd0cc26d4038332d40d0"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """A data set as it lies there at one moment. A folder of many files takes seconds, so it is handed on."""

    fingerprint: str
    """64 hexadecimal digits that differ when the images do."""
    listing: Listing | None = None
    """Of a folder."""


def take(cfg: Data) -> Inventory:
    """Look at the data that `cfg` names.

    The fingerprint of cifar10: the official archive's SHA-256. digits: a constant. folder: SHA-256 over the sorted
    relative paths and the sizes of its images; neither the folder's place nor contents of equal size change it.
    Raises what `scan` refuses, and RunError for an image that is gone before its size was read.
    """
    match cfg:
        case Cifar10():
            return Inventory(fingerprint=ARCHIVE_SHA256)
        case Digits():
            return Inventory(fingerprint=DIGITS)
        case Folder():
            listing = scan(cfg.root)
            digest = hashlib.sha256()
            for path in sorted(listing.paths()):
                try:
                    size = (listing.root / path).stat().st_size
                except OSError as error:
                    raise RunError(
                        f"{shown(listing.root / path)}: must stay while the folder is listed, got {error.strerror}; "
                        f"start again when nothing else changes {shown(listing.root)}"
                    ) from error
                digest.update(f"{path}\0{size}\n".encode("utf-8", "surrogateescape"))
            return Inventory(fingerprint=digest.hexdigest(), listing=listing)
    raise UsageError(f"data must be one of cifar10, digits, folder, got {cfg.name!r}")
