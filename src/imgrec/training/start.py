"""What a run begins with: nothing, a state of its own, or the state of another run."""

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
    """The state that a run goes on from, and what of it the run can use.

    Attributes:
        state: What imgrec stored in the checkpoint; None for a new network, of which all that follows is True but
            `is_own`.
        is_own: The state is of this very run.
        best_compares: Its best was measured by the same loss, on the same images, as those to come will be.
        top1_compares: Its validation top1 were measured on the same images.
        same_seed: Its random generators were seeded as this run's are.
    """

    state: ResumeState | None
    is_own: bool
    best_compares: bool
    top1_compares: bool
    same_seed: bool

    @classmethod
    def of(cls, state: ResumeState | None, job: Job, seen: Inventory) -> Self:
        """Compare a state with the run. seen: the images now."""
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
        """Optimizer steps done."""
        return self.state.step if self.state else 0

    @property
    def saved_step(self) -> int:
        """The same, as the Saver counted them."""
        return self.state.saver.step if self.state else 0

    @property
    def position(self) -> Position:
        return self.state.position if self.state else Position()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to train. The end of a parent's training is not the end of this one."""
        return self.state is not None and self.is_own and self.state.saver.over


def take_over(found: Found, folder: Path, *, with_best: bool) -> Path:
    """Let the found checkpoint be `last` in the run's own folder of checkpoints, and return it there.

    with_best: take the other run's best along.
    """
    last = folder / LAST
    if found.path.parent != folder:
        folder.mkdir(parents=True, exist_ok=True)
        if with_best and (found.path.parent / BEST).exists():
            checkpoint.link_or_copy(found.path.parent / BEST, folder / BEST)
        checkpoint.link_or_copy(found.path, last)
    elif found.path != last:  # now, or the next save would keep the damaged file as the older generation
        checkpoint.link_or_copy(found.path, last)
    return last
