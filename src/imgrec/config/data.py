"""The data axis: which images, how they are split and batched."""

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from imgrec.config.component import Component
from imgrec.config.fields import at_least, setting, within
from imgrec.config.registry import register
from imgrec.errors import UsageError

FIXED_SIZE = 32  # pixels of a side of CIFAR-10's images, and of the digits after upsampling


def default_root() -> str:
    """Where data sets lie unless `data.root` says otherwise."""
    return os.environ.get("IMGREC_DATA_DIR") or "~/.cache/imgrec"


@dataclass(kw_only=True)
class Data(Component):
    """What every data source has."""

    axis: ClassVar[str] = "data"
    named_by_root: ClassVar[bool] = False  # the end of data.root tells these images from others of the same choice

    batch_size: int = setting(128, "images in a training batch, on each device", at_least=1)
    eval_batch_size: int = setting(500, "images in a validation or test batch", identity=False, at_least=1)
    num_workers: int = setting(
        0,
        "processes that prepare batches; 0: in the training process. Changes speed, never results",
        identity=False,
        at_least=0,
        at_most=256,
        way_out="one or two a core are enough",
    )
    resident: str = setting(
        "auto",
        "make training batches on the accelerator, from images kept there, without workers: true, false, or auto:"
        " on a GPU, for images in memory and without augment.policy. Changes speed, never a batch",
        identity=False,
        among=("true", "false", "auto"),
    )
    prune: float = setting(
        0.0,
        "share of the training images, the easiest, to go on without after data.prune_after",
        at_least=0,
        at_most=0.9,
    )
    prune_after: float = setting(
        0.5,
        "share of the epochs after which data.prune, where it is given, leaves images out; rounded up",
        above=0,
        below=1,
    )

    def __post_init__(self) -> None:
        self.resident = self.resident.lower()  # YAML's true arrives as "True"
        super().__post_init__()
        if self.resident == "true" and self.num_workers:
            raise UsageError(
                f"data.resident=true makes batches without workers, got data.num_workers={self.num_workers}; drop one"
                " of the two"
            )

    @property
    def place(self) -> str | None:
        """Where the images lie, as data.root says; None for embedded ones."""
        root: str | None = getattr(self, "root", None)
        return root

    @property
    def side(self) -> int:
        """The side of the images that the network gets, in pixels."""
        return FIXED_SIZE

    @property
    def resizable(self) -> bool:
        """True if a setting decides the side."""
        return False

    @property
    def has_validation(self) -> bool | None:
        """Whether there are validation images; None where only the images tell."""
        return None

    def moved(self, root: str) -> "Data":
        """The same data set in another place. Raises UsageError for one that lies in none."""
        return dataclasses.replace(self, root=root)  # type: ignore[call-arg] # of those that have one

    def pruned_after(self, epochs: int) -> int:
        """How many of that many epochs visit all images."""
        return max(1, math.ceil(round(self.prune_after * epochs, 6)))  # 0.55 of 20 is 11


@register("data", "cifar10")
class Cifar10(Data):
    """CIFAR-10 (Krizhevsky 2009): 50 000 training and 10 000 test images, 32x32, 10 classes."""

    root: str = setting(
        default_root,
        "folder that holds, or will hold, cifar-10-batches-py; default $IMGREC_DATA_DIR, else ~/.cache/imgrec",
        identity=False,
    )
    download: bool = setting(True, "fetch the official archive when the files are absent", identity=False)
    val_size: int = setting(
        5000,
        "training images kept for validation, class-balanced; 0: train on all, no `best`",
        at_least=0,
        below=50000,
        way_out="CIFAR-10 has 50000 training images; use 5000, or 0 for none",
    )
    split_seed: int = setting(
        0, "another validation split of the same size for each number; 0 is the usual one. The test split stays"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_split_seed(self.split_seed, self.val_size)
        if self.val_size % 10:
            raise UsageError(
                f"data.val_size must be a multiple of 10 for CIFAR-10 (a class-balanced split), got {self.val_size}"
            )

    @property
    def has_validation(self) -> bool:
        return self.val_size > 0


@register("data", "digits")
class Digits(Data):
    """scikit-learn's embedded handwritten digits: 1 797 real images, 8x8 grey, upsampled to 32x32x3."""

    val_size: int = setting(
        180,
        "training images kept for validation, stratified; 0: train on all, no `best`",
        at_least=0,
        below=1437,
        way_out="digits has 1437 images outside its test split; use 180",
    )
    split_seed: int = setting(
        0, "another validation split of the same size for each number; 0 is the usual one. The test split stays"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_split_seed(self.split_seed, self.val_size)
        if 0 < self.val_size < 10:
            raise UsageError(f"data.val_size must be 0 or at least 10 (one image a class), got {self.val_size}")

    @property
    def has_validation(self) -> bool:
        return self.val_size > 0

    def moved(self, root: str) -> Data:
        raise UsageError(f"--data-root={root} does not apply: the digits are embedded; leave it out")


@register("data", "folder")
class Folder(Data):
    """Any folder of images with one sub-folder a class, with or without train/val/test above them."""

    named_by_root: ClassVar[bool] = True

    root: str = setting(MISSING, "the folder of images", identity=False)
    image_size: int = setting(32, "side that every image is resized to, in pixels", at_least=8, at_most=4096)
    val_size: float = setting(
        0.1, "validation images when there is no val/ folder: a share below 1, a count from 1; 0: none"
    )
    test_size: float = setting(
        0.1, "test images when there is no test/ folder: a share below 1, a count from 1; 0: none"
    )
    split_seed: int = setting(
        0, "another validation split of the same size for each number; 0 is the usual one. The test split stays"
    )
    on_error: str = setting(
        "raise", "an image that cannot be read: raise stops and names it, skip leaves it out", among=("raise", "skip")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.root.strip():
            raise UsageError("data.root must be a folder of images, got ''; add data.root=DIR")
        if self.resident == "true":
            raise UsageError(
                "data.resident must be auto or false for a folder, whose images are read from disk batch by batch, got"
                " 'true'; leave it out"
            )
        for key in ("val_size", "test_size"):
            value = getattr(self, key)
            at_least(f"data.{key}", value, 0)
            if value >= 1 and value != int(value):
                raise UsageError(f"data.{key} must be a share below 1 or a whole number of images, got {value!r}")
        _check_split_seed(self.split_seed, self.val_size)
        if self.prune and self.on_error == "skip":
            raise UsageError(
                "data.prune needs data.on_error=raise, as it asks for every image's loss, got 'skip'; delete what"
                " cannot be read, or drop one of the two"
            )

    @property
    def side(self) -> int:
        return self.image_size

    @property
    def resizable(self) -> bool:
        return True


def _check_split_seed(split_seed: int, val_size: float) -> None:
    within("data.split_seed", split_seed, 0, 2**32 - 1)
    if split_seed and not val_size:
        raise UsageError(
            f"data.split_seed={split_seed} varies the validation split, and data.val_size=0 leaves none; give one of"
            " the two alone"
        )
