"""Define what data sets of a user's own images have in common: sizes of the splits that they come without."""

from dataclasses import dataclass
from typing import ClassVar

from imgrec.config.fields import setting
from imgrec.config.held_out import HeldOutData, refuse_size


@dataclass(kw_only=True)
class OwnImages(HeldOutData):
    """Images below data.root, with or without validation and test images of their own."""

    named_by_root: ClassVar[bool] = True

    image_size: int = setting(32, "side that every image is resized to, in pixels", at_least=8, at_most=4096)
    test_size: float = setting(0.1, "test images: a share below 1, a count from 1; 0: none")

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("val_size", "test_size"):
            refuse_size(f"data.{key}", getattr(self, key))

    @property
    def side(self) -> int:
        return self.image_size
