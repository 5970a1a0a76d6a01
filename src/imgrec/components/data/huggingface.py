"""Define data=huggingface."""

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


@register("data", "huggingface")
class HuggingFace(OwnImages):
    """A data set of Hugging Face: data.root=NAME of the hub, or a folder; needs the extra "huggingface"."""

    root: str = setting(
        MISSING, "its name on the hub, or a folder: one of save_to_disk, of Parquet files or of images", identity=False
    )
    config_name: str = setting("", "which of the data set's configurations; empty: its only one", identity=False)
    revision: str = setting("", "branch, tag or commit on the hub; empty: the newest", identity=False)
    image_column: str = setting("", "the column of images; empty: the only one", identity=False)
    label_column: str = setting("", "the column of labels; empty: the only one with names of classes", identity=False)
    train_split: str = setting("train", "the split to train on", identity=False)
    val_split: str = setting("", "the validation split; empty: data.val_size of the training images", identity=False)
    test_split: str = setting("test", "the test split; empty: data.test_size of the training images", identity=False)
    val_size: float = setting(0.1, "validation images without data.val_split: a share below 1, a count from 1; 0: none")
    test_size: float = setting(0.1, "test images without data.test_split: a share below 1, a count from 1; 0: none")

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, example in (("root", "uoft-cs/cifar10"), ("train_split", "train")):
            if not getattr(self, key).strip():
                raise UsageError(f"data.{key} must not be empty; add data.{key}={example}, for example")
        if self.val_split:
            self.refuse_own_split(f"data.val_split={self.val_split} names one", "give one of the two alone")

    @property
    def resizable(self) -> bool:
        return True

    def look(self) -> "Inventory":
        """Return the inventory; images and labels identify the data set, but not its name and place."""
        from imgrec.data import huggingface, inventory

        return inventory.Inventory(fingerprint=huggingface.fingerprint(self))

    def load(self, listing: "Listing | None" = None) -> "Source":
        """See `data.huggingface.load`."""
        from imgrec.data import huggingface

        return huggingface.load(self)
