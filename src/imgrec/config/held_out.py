"""Define which training images a data set holds out for validation: a number of them, or one of several folds."""

from dataclasses import dataclass

from imgrec.config.data import Data
from imgrec.config.fields import at_least, default_of, setting
from imgrec.errors import UsageError

MOST_FOLDS = 1000
VALIDATION_KEYS = ("data.split_seed", "data.val_size", "data.folds", "data.fold")  # say which images validate
NEWER_KEYS = ("data.split_seed", "data.folds", "data.fold")  # of these, which older runs lack; they had 0
TEST_KEYS = ("data.test_size",)  # say which images test, where the data set has no test split of its own
FOLDS, FOLD = "data.folds", "data.fold"


@dataclass(kw_only=True)
class HeldOutData(Data):
    """A data set whose validation images are taken from its training images.

    Each data set declares `val_size` with a default of its own.
    """

    val_size: float = setting(0.1, "validation images: a share below 1, a count from 1; 0: none")
    split_seed: int = setting(
        0,
        "another validation split of the same size for each number; 0 is the usual one. The test split stays",
        at_least=0,
        at_most=2**32 - 1,
    )
    folds: int = setting(
        0,
        "cross-validation: parts of the training images, of which one validates instead of data.val_size; 0: none",
        at_least=0,
        at_most=MOST_FOLDS,
    )
    fold: int = setting(0, "which of data.folds validates, the first being 0; several train a run each", at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds == 1:
            raise UsageError("data.folds must be 0, or at least 2, got 1; use 5, for example")
        if self.fold and not self.folds:
            raise UsageError(f"data.fold={self.fold} needs data.folds; add data.folds=5, for example")
        if self.folds and self.fold >= self.folds:
            raise UsageError(
                f"data.fold must be < {self.folds} (data.folds; the first is 0), got {self.fold}; use one of 0 to"
                f" {self.folds - 1}"
            )
        if self.folds and self.val_size not in (0, self.default_val_size()):
            raise UsageError(
                f"data.folds={self.folds} makes the validation split, and data.val_size={self.val_size:g} another one;"
                " give one of the two alone"
            )
        if self.split_seed and not self.validates:
            raise UsageError(
                f"data.split_seed={self.split_seed} varies the validation split, and data.val_size=0 leaves none; give"
                " one of the two alone"
            )

    @classmethod
    def default_val_size(cls) -> float:
        """Return the data set's own default of `val_size`."""
        return next(float(default_of(field)) for field in cls.settings() if field.name == "val_size")

    @property
    def validates(self) -> bool:
        """True if training images are to be held out, unless the data set has a validation split of its own."""
        return bool(self.folds or self.val_size)

    def refuse_own_split(self, has_one: str, way_out: str = "leave {key} out") -> None:
        """Refuse keys that draw a validation split, for a data set with one of its own.

        Args:
            has_one: What it has, in words, such as "photos has one of its own, val/".
            way_out: The way out; `{key}` stands for the key.

        Raises:
            UsageError: One of the keys is given.
        """
        for key in ("split_seed", "folds"):
            if value := getattr(self, key):
                raise UsageError(
                    f"data.{key}={value} {'varies' if key == 'split_seed' else 'makes'} the validation split, and"
                    f" {has_one}; {way_out.format(key=f'data.{key}')}"
                )


def refuse_size(key: str, value: float) -> None:
    """Refuse a size of a split that is neither a share below 1 nor a whole number of images."""
    at_least(key, value, 0)
    if value >= 1 and value != int(value):
        raise UsageError(f"{key} must be a share below 1 or a whole number of images, got {value!r}")
