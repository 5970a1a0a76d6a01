"""Define data=arrays."""

from typing import TYPE_CHECKING

from omegaconf import MISSING

from imgrec.components.own_images import OwnImages
from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.data.inventory import Inventory
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "arrays")
class Arrays(OwnImages):
    """Your own arrays: data.root=FILE.npz with train_images and train_labels, and val_* and test_* if there are any."""

    root: str = setting(MISSING, "the .npz file", identity=False)
    image_size: int = setting(32, "side of the images, which must have it, in pixels", at_least=8, at_most=4096)
    val_size: float = setting(
        0.1, "validation images when there is no val_images: a share below 1, a count from 1; 0: none"
    )
    test_size: float = setting(
        0.1, "test images when there is no test_images: a share below 1, a count from 1; 0: none"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.root.strip():
            raise UsageError("data.root must be a .npz file, got ''; add data.root=FILE.npz")

    def look(self) -> "Inventory":
        """Return the inventory; the file's bytes identify the images, but not its place."""
        from imgrec.data import inventory

        return inventory.of_file(self.root)

    def class_counts(self, listing: "Listing | None" = None) -> tuple[list[int], int]:
        """See `Data`. Only labels are read.

        Raises:
            UsageError, RunError: As in `load`, of labels and of the form of images.
        """
        from imgrec.data import arrays_file

        found = arrays_file.labels(self)
        sizes_k = [0] * len(found.classes)
        for label in found.parts["train"].labels_n.tolist():
            sizes_k[label] += 1
        return sizes_k, len(found.parts["val"].labels_n) if "val" in found.parts else 0

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.arrays.load`."""
        from imgrec.data import arrays

        return arrays.load(self)
