"""Define data=stl10."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.components.published import PublishedData
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "stl10")
class Stl10(PublishedData):
    """STL-10 (Coates et al. 2011): 5 000 labelled training and 8 000 test images, 96x96, 10 classes."""

    class_sizes: ClassVar[list[int]] = [500] * 10

    val_size: int = setting(
        500, "training images kept for validation, class-balanced; 0: train on all, no `best`", at_least=0
    )

    @property
    def side(self) -> int:
        return 96

    def published(self) -> "Published":
        """See `PublishedData`."""
        from imgrec.data import stl10_files

        return stl10_files.PUBLISHED

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.stl10.load`."""
        from imgrec.data import stl10

        return stl10.load(self)
