"""Define data=cifar10."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from imgrec.config.data import Data, default_root, refuse_split_seed, split_seed_setting
from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.errors import RunError, UsageError

if TYPE_CHECKING:
    from imgrec.data.inventory import Inventory
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "cifar10")
class Cifar10(Data):
    """CIFAR-10 (Krizhevsky 2009): 50 000 training and 10 000 test images, 32x32, 10 classes."""

    root: str = setting(
        default_root,
        "folder that holds, or will hold, cifar-10-batches-py; default $IMGREC_DATA_DIR, else ~/.cache/imgrec",
        identity=False,
    )
    download: bool = setting(True, "fetch the official archive when the files are absent", identity=False)
    val_size: int = setting(
        5000,
        "training images kept for validation, class-balanced; 0: train on all, no `best`",
        at_least=0,
        below=50000,
        way_out="CIFAR-10 has 50000 training images; use 5000, or 0 for none",
    )
    split_seed: int = split_seed_setting()

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_split_seed(self.split_seed, self.val_size)
        if self.val_size % 10:
            raise UsageError(
                f"data.val_size must be a multiple of 10 for CIFAR-10 (a class-balanced split), got {self.val_size}"
            )

    @property
    def has_validation(self) -> bool:
        return self.val_size > 0

    def look(self) -> "Inventory":
        """Return the inventory; the official archive's SHA-256 identifies the images."""
        from imgrec.data.cifar10_files import ARCHIVE_SHA256
        from imgrec.data.inventory import Inventory

        return Inventory(fingerprint=ARCHIVE_SHA256)

    def counts(self, listing: "Listing | None" = None) -> tuple[int, int]:
        """See `Data`."""
        return 50_000 - self.val_size, self.val_size

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.cifar10.load`."""
        from imgrec.data import cifar10

        return cifar10.load(self)

    def at_hand(self) -> "Cifar10":
        """See `Data`."""
        from imgrec.data import cifar10_files

        folder = Path(self.root).expanduser() / cifar10_files.FOLDER
        if not cifar10_files.present(folder):
            raise RunError(
                f"{folder} must hold the official CIFAR-10 files, and does not (only training downloads them); place"
                f" them there, or name the folder above {cifar10_files.FOLDER} with --data-root"
            )
        return dataclasses.replace(self, download=False)
