"""Define data=eurosat."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.components.published import PublishedData
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@register("data", "eurosat")
class EuroSat(PublishedData):
    """EuroSAT (Helber et al. 2019): 27 000 satellite images, 64x64, 10 classes, a fixed fifth of them for testing."""

    class_sizes: ClassVar[list[int]] = [2400, 2400, 2400, 2000, 2000, 1600, 2000, 2400, 2000, 2400]

    val_size: int = setting(
        2700, "training images kept for validation, stratified; 0: train on all, no `best`", at_least=0
    )

    @property
    def side(self) -> int:
        return 64

    def published(self) -> "Published":
        """See `PublishedData`."""
        from imgrec.data import eurosat_files

        return eurosat_files.PUBLISHED

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.eurosat.load`."""
        from imgrec.data import eurosat

        return eurosat.load(self)
