"""Define the data axis: the images, and their splits and batches."""

import dataclasses
import math
import os
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import setting
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.data.files import Files
    from imgrec.data.inventory import Inventory
    from imgrec.data.scan import Listing
    from imgrec.data.source import Images, Source

FIXED_SIZE = 32  # pixels of a side of CIFAR-10's images, and of the digits after upsampling


def default_root() -> str:
    """Return the folder of data sets where `data.root` is not given."""
    return os.environ.get("IMGREC_DATA_DIR") or "~/.cache/imgrec"


@dataclass(kw_only=True)
class Data(Component):
    """A data set.

    Attributes:
        named_by_root: True if the end of data.root distinguishes these images from others of the same choice.
        streams: True if images are read from disk batch by batch, and not held in memory.
    """

    axis: ClassVar[str] = "data"
    named_by_root: ClassVar[bool] = False
    streams: ClassVar[bool] = False

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
    subset: float = setting(
        1.0,
        "share of the training images to train on, stratified; a smaller share lies inside a larger one",
        above=0,
        at_most=1,
    )
    subset_seed: int = setting(
        0,
        "other images for each number, where data.subset or data.imbalance takes some",
        at_least=0,
        at_most=2**32 - 1,
    )
    imbalance: float = setting(
        1.0,
        "a long tail: class k of K keeps imbalance^(k/(K-1)) of its training images (Cui et al. 2019); 1: all",
        above=0,
        at_most=1,
    )
    label_noise: float = setting(
        0.0, "share of the training images, of each class, that get a wrong label", at_least=0, at_most=1
    )
    noise_kind: str = setting(
        "symmetric",
        "which wrong label data.label_noise gives: symmetric draws one of all others, pairs takes the next class",
        among=("symmetric", "pairs"),
    )
    noise_seed: int = setting(
        0, "other wrong labels for each number, where data.label_noise is given", at_least=0, at_most=2**32 - 1
    )
    sampler: str = setting(
        "shuffle",
        "which training images an epoch visits: shuffle, each once; balanced, as many visits, the same number of every"
        " class",
        among=("shuffle", "balanced"),
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
    def idle(self) -> frozenset[str]:
        """Seeds and kinds of what is not asked for."""
        takes_some = self.subset < 1 or self.imbalance < 1
        return frozenset(
            [*(() if takes_some else ["subset_seed"]), *(() if self.label_noise else ["noise_kind", "noise_seed"])]
        )

    @property
    def place(self) -> str | None:
        """The place of the images, as data.root gives it; None for images that a package contains."""
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
        """True if there are validation images; None where only the images themselves can tell."""
        return None

    def look(self) -> "Inventory | None":
        """Return the inventory of the images before they are loaded; None where `fingerprint` already identifies them.

        Raises:
            UsageError, RunError: There are no images.
        """
        return None

    def fingerprint(self) -> str:
        """Return a text that differs when the images differ, as part of a run's identity. Not used with `look`."""
        raise UsageError(f"data={self.name} must define fingerprint(), or look(), in {type(self).__name__}")

    def counts(self, listing: "Listing | None" = None) -> tuple[int, int]:
        """Return the numbers of training and validation images, before data.subset and data.imbalance take some.

        Args:
            listing: The listing of a folder, where one was made already.
        """
        of_classes, val = self.class_counts(listing)
        return sum(of_classes), val

    def class_counts(self, listing: "Listing | None" = None) -> tuple[list[int], int]:
        """Return the number of training images of each class, and the number of validation images.

        As `counts`. A data set that can tell without loading all images defines it.
        """
        source = self.load(listing)
        sizes_k = source.train.labels.bincount(minlength=len(source.classes))
        return sizes_k.tolist(), 0 if source.val is None else len(source.val)

    @abstractmethod
    def load(self, listing: "Listing | None" = None) -> "Source":
        """Load the images: all that belong to the splits, with their own labels. `data.sources` goes on from there.

        Args:
            listing: The listing of a folder, where one was made already.

        Raises:
            UsageError, RunError: The images cannot be loaded.
        """

    def some(self, listing: "Listing", files: "Files") -> "Images":
        """Return only these images of a folder, read as `load` reads them. A data set that lists its files defines it.

        Raises:
            UsageError: This data set does not define it.
        """
        raise UsageError(f"data={self.name} must define some() to have other images measured, as it lists its files")

    def at_hand(self) -> "Data":
        """Return the same images without a download.

        Raises:
            RunError: The images would have to be downloaded.
        """
        return self

    def moved(self, root: str) -> "Data":
        """Return the same data set in another place.

        Raises:
            UsageError: The data set has no place.
        """
        return dataclasses.replace(self, root=root)  # type: ignore[call-arg] # of those that have one

    def pruned_after(self, epochs: int) -> int:
        """Return the number of epochs, of `epochs` in all, that visit all images."""
        return max(1, math.ceil(round(self.prune_after * epochs, 6)))  # 0.55 of 20 is 11
