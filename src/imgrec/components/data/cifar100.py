"""Define data=cifar100."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.components.published import PublishedData
from imgrec.config.fields import setting
from imgrec.config.held_out import HeldOutData
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "cifar100")
class Cifar100(PublishedData):
    """CIFAR-100 (Krizhevsky 2009): 50 000 training and 10 000 test images, 32x32, 100 classes or 20 superclasses."""

    class_sizes: ClassVar[list[int]] = [500] * 100

    labels: str = setting(
        "fine", "classes: the 100 fine ones, or the 20 coarse ones above them", among=("fine", "coarse")
    )
    val_size: int = setting(
        5000, "training images kept for validation, balanced by fine class; 0: train on all, no `best`", at_least=0
    )

    def published(self) -> "Published":
        """See `PublishedData`."""
        from imgrec.data import cifar100_files

        return cifar100_files.PUBLISHED

    def class_counts(self, listing: "Listing | None" = None) -> tuple[list[int], int]:
        """See `Data`. No file is opened, unless folds divide the fine classes unequally among the coarse ones."""
        fine, val = super().class_counts(listing)
        if self.labels == "fine":
            return fine, val
        if len(set(fine)) > 1:
            return HeldOutData.class_counts(self, listing)
        return [sum(fine) // 20] * 20, val

    def counts(self, listing: "Listing | None" = None) -> tuple[int, int]:
        """See `Data`. No file is opened."""
        fine, val = super().class_counts(listing)
        return sum(fine), val

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.cifar100.load`."""
        from imgrec.data import cifar100

        return cifar100.load(self)
