"""Define what MNIST and the data sets in its format have in common."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.components.published import PublishedData
from imgrec.config.fields import setting

if TYPE_CHECKING:
    from imgrec.data.published import Published
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source


@dataclass(kw_only=True)
class IdxData(PublishedData):
    """60 000 training and 10 000 test images, 28x28, grey, of 10 classes, in gzipped IDX files.

    Attributes:
        classes: The names of the classes.
    """

    classes: ClassVar[tuple[str, ...]]

    padding: int = setting(
        2,
        "black pixels on each side of the 28x28 images; 2 makes them 32x32, as LeCun et al. (1998) did, 0 leaves them",
        at_least=0,
        at_most=18,
    )

    @property
    def side(self) -> int:
        return 28 + 2 * self.padding

    def published(self) -> "Published":
        """See `PublishedData`."""
        from imgrec.data import idx_files

        return idx_files.PUBLISHED[self.name]

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.idx.load`."""
        from imgrec.data import idx

        return idx.load(self, self.classes)
