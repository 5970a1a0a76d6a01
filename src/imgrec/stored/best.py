"""Describe the best epoch of a run, and the file with its state."""

from dataclasses import dataclass
from typing import Any, Self

from imgrec import value_checks


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best epoch so far: validation top1 in [0, 1] and loss, its number from 1, and the steps until its end."""

    top1: float
    loss: float
    epoch: int
    step: int

    def is_better_than(self, other: "Best | None") -> bool:
        """Return True if the top1 is higher, or equal with a lower loss."""
        return other is None or (-self.top1, self.loss) < (-other.top1, other.loss)

    def to_plain(self) -> dict[str, Any]:
        """Return the values as a checkpoint and a record store them."""
        return {"top1": self.top1, "loss": self.loss, "epoch": self.epoch, "step": self.step}

    @classmethod
    def from_plain(cls, value: Any, what: str) -> Self:
        """Return the object that `to_plain` stored.

        Raises:
            ValueError, KeyError: The value has another form.
        """
        plain = value_checks.mapping(value, what)
        value_checks.number(plain["top1"], "best's top1", low=0)
        for key in ("epoch", "step"):
            value_checks.integer(plain[key], f"best's {key}")
        if not isinstance(plain["loss"], float):  # any size, or NaN, as a network may have diverged
            raise ValueError(f"best's loss must be a number, got {value_checks.brief(plain['loss'])}")
        return cls(top1=plain["top1"], loss=plain["loss"], epoch=plain["epoch"], step=plain["step"])


@dataclass(frozen=True, kw_only=True)
class LostBest:
    """A best epoch whose file is missing, damaged or of another run, and why."""

    best: Best
    why: str

    def to_plain(self) -> dict[str, Any]:
        return {**self.best.to_plain(), "why": self.why}

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        best = Best.from_plain(value, "Saver's best_lost")
        return cls(best=best, why=value_checks.text(value.get("why", ""), "best's why"))


@dataclass(frozen=True, kw_only=True)
class BestFile:
    """The SHA-256 of `best.ckpt`, and the id of the run whose state it is."""

    sha256: str
    run_id: str

    def to_plain(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "run_id": self.run_id}

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        plain = value_checks.mapping(value, "Saver's best_file")
        sha256, run_id = (value_checks.name(plain[key], f"best_file's {key}") for key in ("sha256", "run_id"))
        return cls(sha256=sha256, run_id=run_id)
