"""Define data=cifar10."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.components.published import PublishedData
from imgrec.config.data import default_root
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.data.inventory import Inventory
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "cifar10")
class Cifar10(PublishedData):
    """CIFAR-10 (Krizhevsky 2009): 50 000 training and 10 000 test images, 32x32, 10 classes."""

    class_sizes: ClassVar[list[int]] = [5000] * 10

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

    def published(self) -> "Published":
        """See `PublishedData`."""
        from imgrec.data import cifar10_files

        return cifar10_files.published()

    def look(self) -> "Inventory":
        """Return the inventory; the official archive's SHA-256 identifies the images."""
        from imgrec.data.cifar10_files import ARCHIVE_SHA256
        from imgrec.data.inventory import Inventory

        return Inventory(fingerprint=ARCHIVE_SHA256)

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.cifar10.load`."""
        from imgrec.data import cifar10

        return cifar10.load(self)
