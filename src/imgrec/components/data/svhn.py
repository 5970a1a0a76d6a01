"""Define data=svhn."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.components.published import PublishedData
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "svhn")
class Svhn(PublishedData):
    """SVHN, cropped digits (Netzer et al. 2011): 73 257 training and 26 032 test images of house numbers, 32x32."""

    class_sizes: ClassVar[list[int]] = [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659]

    val_size: int = setting(
        6000, "training images kept for validation, stratified; 0: train on all, no `best`", at_least=0
    )

    def published(self) -> "Published":
        """See `PublishedData`."""
        from imgrec.data import svhn_files

        return svhn_files.PUBLISHED

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.svhn.load`."""
        from imgrec.data import svhn

        return svhn.load(self)
