"""Define imgrec's own part of a checkpoint, with which a run continues. Only this module knows its keys and types.

Lightning stores the state of each callback under `callbacks` by its `state_key`, and the state of the images beside it.
The keys are those of all versions of imgrec, and never change: older files can be read, and older versions can read new
files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from imgrec import value_checks
from imgrec.errors import RunError
from imgrec.stored import lightning_parts, train_scores
from imgrec.stored.best import Best, BestFile, LostBest
from imgrec.stored.meta import Meta
from imgrec.stored.position import Position
from imgrec.stored.random_state import RandomState
from imgrec.stored.tensors import dense
from imgrec.stored.train_scores import TRAIN_SCORES

DATA = "ImageData"  # also contains the position, and the images that are left

_PARTS = ("optimizer_states", "lr_schedulers", "loops", "callbacks", TRAIN_SCORES)


@dataclass(frozen=True, kw_only=True)
class SaverState:
    """The progress of the training, and the files beside the checkpoint.

    Attributes:
        best: The best epoch; None before the first validation.
        best_file: The file of the best; None if `best` is this state itself, or an older version stored none.
        best_lost: The newest best that was lost; None without one.
        over: True at the training's end.
        position: The position of this state.
        step: The number of optimizer steps done.
        rows: The rows of curves.csv at this state; None if an older version did not count them.
        rows_lost: The number of logged rows that were lost.
        random: The random state of each process, by rank.
    """

    KEY: ClassVar[str] = "Saver"

    best: Best | None
    best_file: BestFile | None
    best_lost: LostBest | None
    over: bool
    position: Position
    step: int
    rows: int | None
    rows_lost: int
    random: tuple[RandomState, ...]

    def to_plain(self) -> dict[str, Any]:
        """Return the values as a checkpoint stores them."""
        return {
            "best": None if self.best is None else self.best.to_plain(),
            "best_file": None if self.best_file is None else self.best_file.to_plain(),
            "best_lost": None if self.best_lost is None else self.best_lost.to_plain(),
            "over": self.over,
            "position": [self.position.epoch, self.position.batch],
            "step": self.step,
            "rows": self.rows,
            "rows_lost": self.rows_lost,
            "random": [each.to_plain() for each in self.random],
        }

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """Return the object that `to_plain` stored.

        Raises:
            ValueError, KeyError: The value has another form.
        """
        plain = value_checks.mapping(value, "Saver")
        if not isinstance(plain["over"], bool):
            raise ValueError(f"Saver's over must be true or false, got {value_checks.brief(plain['over'])}")
        epoch, batch = (
            value_checks.integer(number, "Saver's position")
            for number in value_checks.items(plain["position"], "Saver's position", length=2)
        )
        best, lost, file = plain["best"], plain.get("best_lost"), plain.get("best_file")
        return cls(
            over=plain["over"],
            position=Position(epoch, batch),
            step=value_checks.integer(plain["step"], "Saver's step"),
            rows=value_checks.integer(plain["rows"], "Saver's rows") if "rows" in plain else None,
            rows_lost=value_checks.integer(plain.get("rows_lost", 0), "Saver's rows_lost"),
            best=None if best is None else Best.from_plain(best, "Saver's best"),
            best_lost=None if lost is None else LostBest.from_plain(lost),
            best_file=None if file is None else BestFile.from_plain(file),
            random=tuple(
                RandomState.from_plain(each) for each in value_checks.items(plain["random"], "Saver's random")
            ),
        )


@dataclass(frozen=True, kw_only=True)
class SpeedState:
    """The training images so far, the seconds of their steps, and the seconds of all processes of the run."""

    KEY: ClassVar[str] = "Speed"

    images: int = 0
    seconds: float = 0.0
    wall: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        return {"images": self.images, "seconds": self.seconds, "wall": self.wall}

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        plain = value_checks.mapping(value, "Speed")
        images = value_checks.integer(plain["images"], "Speed's images")
        seconds, wall = (value_checks.number(plain[key], f"Speed's {key}", low=0) for key in ("seconds", "wall"))
        return cls(images=images, seconds=seconds, wall=wall)


@dataclass(frozen=True, kw_only=True)
class SkipperState:
    """The number of steps that were skipped, as their loss or gradient was not finite."""

    KEY: ClassVar[str] = "Finite"

    skipped: int = 0

    def to_plain(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        return cls(skipped=value_checks.integer(value_checks.mapping(value, cls.KEY)["skipped"], "Finite's skipped"))


@dataclass(frozen=True, kw_only=True)
class KeptImages:
    """The training images that are left: bool (N,), the first epoch without the others, and their share, in (0, 1)."""

    kept_n: Tensor
    since: int
    share: float

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        plain = value_checks.mapping(value, "subset")
        kept_n = dense(plain["kept"], "subset's kept")
        since = value_checks.integer(plain["since"], "subset's since")
        value_checks.number(plain["share"], "subset's share", low=0, high=1)
        return cls(kept_n=kept_n, since=since, share=plain["share"])


@dataclass(frozen=True, kw_only=True)
class DataState:
    """The position, and the images that are left; None if none were left out."""

    position: Position
    subset: KeptImages | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return the values as a checkpoint stores them."""
        plain: dict[str, Any] = {"epoch": self.position.epoch, "batch": self.position.batch}
        if self.subset is not None:
            plain["subset"] = {"kept": self.subset.kept_n, "since": self.subset.since, "share": self.subset.share}
        return plain

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """Return the object that `to_plain` stored.

        Raises:
            ValueError, KeyError: The value has another form.
        """
        plain = value_checks.mapping(value, DATA)
        epoch, batch = (value_checks.integer(plain[key], f"{DATA}'s {key}") for key in ("epoch", "batch"))
        subset = plain.get("subset")
        return cls(position=Position(epoch, batch), subset=None if subset is None else KeptImages.from_plain(subset))


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """All that imgrec stores in a checkpoint in addition to the network's weights.

    The parts that Lightning and the classifier load themselves (weights, optimizer, schedule, counts of the epoch) are
    checked, but not included.
    """

    meta: Meta
    step: int  # optimizer steps done
    saver: SaverState
    speed: SpeedState
    skipper: SkipperState
    subset: KeptImages | None

    @property
    def position(self) -> Position:
        return self.saver.position

    @classmethod
    def of(cls, path: Path, checkpoint: Mapping[str, Any]) -> Self:
        """Return the state in a checkpoint.

        Args:
            path: The file, for the error message.
            checkpoint: Its contents.

        Raises:
            RunError: No run can continue from the checkpoint.
        """
        meta = Meta.of(path, checkpoint)
        try:
            for part in _PARTS:
                checkpoint[part]
            lightning_parts.check(checkpoint)
            callbacks = checkpoint["callbacks"]
            found = cls(
                meta=meta,
                step=int(checkpoint["global_step"]),
                saver=SaverState.from_plain(callbacks[SaverState.KEY]),
                speed=SpeedState.from_plain(callbacks[SpeedState.KEY]),
                skipper=SkipperState.from_plain(callbacks.get(SkipperState.KEY, {"skipped": 0})),
                subset=DataState.from_plain(checkpoint.get(DATA, {"epoch": 0, "batch": 0})).subset,
            )
            train_scores.check(checkpoint[TRAIN_SCORES], classes=len(meta.classes))
        except (KeyError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise RunError(
                f"{path} must be a checkpoint that imgrec wrote, got {reason}; restore the run's own, or remove its"
                " folder"
            ) from error
        return found


def best_of(checkpoint: Mapping[str, Any]) -> Best | None:
    """Return the best epoch according to any checkpoint; None if it names none."""
    try:
        return Best.from_plain(checkpoint["callbacks"][SaverState.KEY]["best"], "Saver's best")
    except (KeyError, TypeError, ValueError):
        return None
