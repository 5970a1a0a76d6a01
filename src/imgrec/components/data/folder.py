"""Define data=folder."""

from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from imgrec.components.own_images import OwnImages
from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.data.files import Files
    from imgrec.data.inventory import Inventory
    from imgrec.data.scan import Listing
    from imgrec.data.source import Images, Source


@register("data", "folder")
class Folder(OwnImages):
    """Your own images: data.root=DIR with one sub-folder a class, with or without train/, val/, test/ above them."""

    streams: ClassVar[bool] = True

    root: str = setting(MISSING, "the folder of images", identity=False)
    val_size: float = setting(
        0.1, "validation images when there is no val/ folder: a share below 1, a count from 1; 0: none"
    )
    test_size: float = setting(
        0.1, "test images when there is no test/ folder: a share below 1, a count from 1; 0: none"
    )
    on_error: str = setting(
        "raise", "an image that cannot be read: raise stops and names it, skip leaves it out", among=("raise", "skip")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.root.strip():
            raise UsageError("data.root must be a folder of images, got ''; add data.root=DIR")
        if self.resident == "true":
            raise UsageError(
                "data.resident must be auto or false for a folder, whose images are read from disk batch by batch, got"
                " 'true'; leave it out"
            )
        if self.prune and self.on_error == "skip":
            raise UsageError(
                "data.prune needs data.on_error=raise, as it asks for every image's loss, got 'skip'; delete what"
                " cannot be read, or drop one of the two"
            )

    @property
    def resizable(self) -> bool:
        return True

    def look(self) -> "Inventory":
        """Return the inventory; names and contents identify the images, but not the folder's place."""
        from imgrec.data import inventory

        return inventory.of_folder(self.root)

    def class_counts(self, listing: "Listing | None" = None) -> tuple[list[int], int]:
        """See `Data`. No image is opened.

        Raises:
            UsageError, RunError: The folder's images cannot be split in this way.
        """
        import numpy as np

        from imgrec.data import folder

        found = folder.split(self, listing)
        sizes_k = np.bincount(found.train.labels_n, minlength=len(found.classes))
        return sizes_k.tolist(), len(found.val or ())

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.folder.load`."""
        from imgrec.data import folder

        return folder.load(self, listing)

    def some(self, listing: "Listing", files: "Files") -> "Images":
        """See `data.folder.FolderImages`."""
        from imgrec.data.folder import FolderImages

        return FolderImages(listing.root, files, image_size=self.image_size, on_error=self.on_error)
