"""Describe what a run begins with: nothing, its own state, or the state of another run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from imgrec import checkpoint
from imgrec.checkpoint import BEST, LAST
from imgrec.data.inventory import Inventory
from imgrec.job import Job
from imgrec.stored.position import Position
from imgrec.stored.resume_state import ResumeState
from imgrec.training import resume_point
from imgrec.training.resume_point import Found


@dataclass(frozen=True, kw_only=True)
class Start:
    """The state that a run continues from, and which parts of it the run can use.

    Attributes:
        state: imgrec's part of the checkpoint; None for a new network. All attributes below but `is_own` are then True.
        is_own: True if the state is of this run.
        best_compares: True if its best was measured with the same loss and on the same images as later epochs will be.
        top1_compares: True if its validation top1 were measured on the same images.
        same_seed: True if its random generators had the seed of this run.
    """

    state: ResumeState | None
    is_own: bool
    best_compares: bool
    top1_compares: bool
    same_seed: bool

    @classmethod
    def of(cls, state: ResumeState | None, job: Job, seen: Inventory) -> Self:
        """Compare a state with the run and the present images."""
        if state is None:
            return cls(state=None, is_own=False, best_compares=True, top1_compares=True, same_seed=True)
        meta, config = state.meta, job.config
        is_own = meta.run_id == job.run_id
        return cls(
            state=state,
            is_own=is_own,
            best_compares=is_own or resume_point.measures_alike(meta, config, seen),
            top1_compares=resume_point.measures_alike(meta, config, seen, losses=False),
            same_seed=meta.config.get("seed") == config.seed,
        )

    @property
    def step(self) -> int:
        """The number of optimizer steps done."""
        return self.state.step if self.state else 0

    @property
    def saved_step(self) -> int:
        """The number of optimizer steps done, as the Saver counted them."""
        return self.state.saver.step if self.state else 0

    @property
    def position(self) -> Position:
        return self.state.position if self.state else Position()

    @property
    def is_over(self) -> bool:
        """True if nothing is left to train. The end of a parent's training is not the end of this one."""
        return self.state is not None and self.is_own and self.state.saver.over


def take_over(found: Found, folder: Path, *, with_best: bool) -> Path:
    """Make the found checkpoint `last` in the run's own folder of checkpoints, and return its new path.

    Args:
        found: The checkpoint.
        folder: The run's checkpoints.
        with_best: True to copy the other run's best as well.
    """
    last = folder / LAST
    if found.path.parent != folder:
        folder.mkdir(parents=True, exist_ok=True)
        if with_best and (found.path.parent / BEST).exists():
            checkpoint.link_or_copy(found.path.parent / BEST, folder / BEST)
        checkpoint.link_or_copy(found.path, last)
    elif found.path != last:  # do it now, else the next save would keep the damaged file as the older generation
        checkpoint.link_or_copy(found.path, last)
    return last
