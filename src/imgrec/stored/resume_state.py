"""What imgrec itself stores in a checkpoint so that a run can go on: the one place that knows keys and types.

Lightning stores the state of each callback under `callbacks`, by its `state_key`, and that of the images beside it.
The keys are those of all versions of imgrec, and stay: older files are read, and older versions read new files.
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

DATA = "ImageData"  # the position again, and the images that are left

_PARTS = ("optimizer_states", "lr_schedulers", "loops", "callbacks", TRAIN_SCORES)


@dataclass(frozen=True, kw_only=True)
class SaverState:
    """How far the training has come, and what lies beside the checkpoint.

    Attributes:
        best: None before the first validation.
        best_file: None where `best` is this state itself, and where an older version noted none.
        best_lost: The newest best that was lost; None without one.
        over: True at the training's end.
        position: Of this state.
        step: Optimizer steps done.
        rows: Of curves.csv at this state; None where an older version did not count them.
        rows_lost: Of those that the run has logged.
        random: Of each process, by rank.
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
        """As a checkpoint holds it."""
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
        """What `to_plain` gave. Raises ValueError or KeyError for anything else."""
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
    """Training images shown so far, the seconds of their steps, and the seconds of all processes of the run."""

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
    """How many steps were left out, as their loss or gradient was not finite."""

    KEY: ClassVar[str] = "Finite"

    skipped: int = 0

    def to_plain(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        return cls(skipped=value_checks.integer(value_checks.mapping(value, cls.KEY)["skipped"], "Finite's skipped"))


@dataclass(frozen=True, kw_only=True)
class KeptImages:
    """The training images that are left: bool (N,), since which epoch, and the share that was left out, in (0, 1)."""

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
    """The position, and the images that are left; None where none was left out."""

    position: Position
    subset: KeptImages | None = None

    def to_plain(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        plain: dict[str, Any] = {"epoch": self.position.epoch, "batch": self.position.batch}
        if self.subset is not None:
            plain["subset"] = {"kept": self.subset.kept_n, "since": self.subset.since, "share": self.subset.share}
        return plain

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """What `to_plain` gave. Raises ValueError or KeyError for anything else."""
        plain = value_checks.mapping(value, DATA)
        epoch, batch = (value_checks.integer(plain[key], f"{DATA}'s {key}") for key in ("epoch", "batch"))
        subset = plain.get("subset")
        return cls(position=Position(epoch, batch), subset=None if subset is None else KeptImages.from_plain(subset))


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """All that imgrec stores in a checkpoint beside the network's weights.

    What Lightning and the classifier load by themselves (weights, optimizer, schedule, counts of the epoch) is checked,
    and not kept here.
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
        """The state in the checkpoint of the file `path`. Raises RunError for one that no run can go on from."""
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
    """The best so far of any checkpoint; None where it tells of none."""
    try:
        return Best.from_plain(checkpoint["callbacks"][SaverState.KEY]["best"], "Saver's best")
    except (KeyError, TypeError, ValueError):
        return None
