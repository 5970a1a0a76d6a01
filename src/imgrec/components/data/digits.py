"""Define data=digits."""

from typing import TYPE_CHECKING

from imgrec.config.data import Data
from imgrec.config.fields import setting
from imgrec.config.held_out import HeldOutData
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.data.inventory import Inventory
    from imgrec.data.scan import Listing
    from imgrec.data.source import Source

_SIZES = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)  # images of each digit; a test counts them
_TEST_SIZE = 360


@register("data", "digits")
class Digits(HeldOutData):
    """1 797 real handwritten digits out of scikit-learn (8x8, upsampled to 32x32x3): no network needed."""

    val_size: int = setting(
        180,
        "training images kept for validation, stratified; 0: train on all, no `best`",
        at_least=0,
        below=1437,
        way_out="digits has 1437 images outside its test split; use 180",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.val_size < 10:
            raise UsageError(f"data.val_size must be 0 or at least 10 (one image a class), got {self.val_size}")

    @property
    def has_validation(self) -> bool:
        return self.validates

    def moved(self, root: str) -> Data:
        raise UsageError(f"--data-root={root} does not apply: the digits are embedded; leave it out")

    def look(self) -> "Inventory":
        """Return the inventory; a constant identifies the images."""
        from imgrec.data.inventory import DIGITS, Inventory

        return Inventory(fingerprint=DIGITS)

    def class_counts(self, listing: "Listing | None" = None) -> tuple[list[int], int]:
        """See `Data`. No image is loaded."""
        from imgrec.data.split import held_out_sizes, quotas

        rest = [size - out for size, out in zip(_SIZES, quotas(_SIZES, _TEST_SIZE).tolist(), strict=True)]
        out_k = held_out_sizes(self, rest)
        return [size - out for size, out in zip(rest, out_k.tolist(), strict=True)], int(out_k.sum())

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.digits.load`."""
        from imgrec.data import digits  # importing scikit-learn takes a second

        return digits.load(self)
