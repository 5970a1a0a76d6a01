"""Define what data sets of published files have in common: their place, download and validation split."""

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from imgrec.config.data import default_root
from imgrec.config.fields import setting
from imgrec.config.held_out import HeldOutData
from imgrec.errors import RunError, UsageError

if TYPE_CHECKING:
    from imgrec.data.inventory import Inventory
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing


@dataclass(kw_only=True)
class PublishedData(HeldOutData):
    """A data set of published files below data.root, whose validation images are taken from its training images.

    Attributes:
        class_sizes: The number of training images of each class, validation images included.
    """

    class_sizes: ClassVar[Sequence[int]]

    root: str = setting(
        default_root,
        "folder that holds, or will hold, the published files; default $IMGREC_DATA_DIR, else ~/.cache/imgrec",
        identity=False,
    )
    download: bool = setting(True, "fetch the published files when they are absent", identity=False)
    val_size: int = setting(
        5000, "training images kept for validation, stratified; 0: train on all, no `best`", at_least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.folds and (rule := self._broken_rule()):
            raise UsageError(
                f"data.val_size must be {rule}, got {self.val_size}; use {self.default_val_size():g}, or 0 for none"
            )

    def _broken_rule(self) -> str | None:
        """Return what the size of the validation split must be, and is not. Its words need the data set's title."""
        count, classes = sum(self.class_sizes), len(self.class_sizes)
        if self.val_size >= count:
            return f"< {count} (the training images of {self.published().title})"
        if len(set(self.class_sizes)) == 1 and self.val_size % classes:
            return f"a multiple of {classes} for {self.published().title} (a class-balanced split)"
        if 0 < self.val_size < classes:
            return f"0 or at least {classes} for {self.published().title} (one image a class)"
        return None

    @abstractmethod
    def published(self) -> "Published":
        """Return where the files come from, and their checksums."""

    @property
    def has_validation(self) -> bool:
        return self.validates

    def look(self) -> "Inventory":
        """Return the inventory; the official checksums identify the images, as no other file is read."""
        from imgrec.data.inventory import Inventory

        return Inventory(fingerprint=self.published().fingerprint)

    def class_counts(self, listing: "Listing | None" = None) -> tuple[list[int], int]:
        """See `Data`. No file is opened."""
        from imgrec.data.split import held_out_sizes

        out_k = held_out_sizes(self, self.class_sizes)
        return [size - out for size, out in zip(self.class_sizes, out_k.tolist(), strict=True)], int(out_k.sum())

    def at_hand(self) -> Self:
        """See `Data`."""
        published, root = self.published(), Path(self.root).expanduser()
        if not published.present(root):
            raise RunError(
                f"{root / published.folder} must hold the official {published.title} files, and does not (only training"
                f" downloads them); place them there, or name the folder above {published.folder} with --data-root"
            )
        return dataclasses.replace(self, download=False)
