"""Define data=imagenette."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.components.published import PublishedData
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "imagenette")
class Imagenette(PublishedData):
    """Imagenette2-160 (Howard 2019): 9 469 training and 3 925 test photographs of 10 of ImageNet's classes."""

    class_sizes: ClassVar[list[int]] = [963, 955, 993, 858, 941, 956, 961, 931, 951, 960]

    image_size: int = setting(
        64, "side that the central square of every image is resized to, in pixels", at_least=8, at_most=1024
    )
    val_size: int = setting(
        900, "training images kept for validation, stratified; 0: train on all, no `best`", at_least=0
    )

    @property
    def side(self) -> int:
        return self.image_size

    @property
    def resizable(self) -> bool:
        return True

    def published(self) -> "Published":
        """See `PublishedData`."""
        from imgrec.data import imagenette_files

        return imagenette_files.PUBLISHED

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.imagenette.load`."""
        from imgrec.data import imagenette

        return imagenette.load(self)
