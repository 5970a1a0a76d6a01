"""Define data=tiny_imagenet."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.components.published import PublishedData
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "tiny_imagenet")
class TinyImageNet(PublishedData):
    """Tiny ImageNet (Le & Yang 2015): 100 000 training and 10 000 test images (its `val`), 64x64, 200 classes."""

    class_sizes: ClassVar[list[int]] = [500] * 200

    val_size: int = setting(
        10000, "training images kept for validation, class-balanced; 0: train on all, no `best`", at_least=0
    )

    @property
    def side(self) -> int:
        return 64

    def published(self) -> "Published":
        """See `PublishedData`."""
        from imgrec.data import tiny_imagenet_files

        return tiny_imagenet_files.PUBLISHED

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.tiny_imagenet.load`."""
        from imgrec.data import tiny_imagenet

        return tiny_imagenet.load(self)
