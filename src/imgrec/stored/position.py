"""Describe the position of a run in its training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """A position in the training: epochs done, and batches done in the next epoch."""

    epoch: int = 0
    batch: int = 0


class RunPosition:
    """The position of a run: one object, which the Saver moves and other parts read.

    Attributes:
        start: The position at which this process begins.
        saved: The position of the newest saved state.
        step: The number of optimizer steps in that state.
    """

    def __init__(self, start: Position | None = None, *, step: int = 0) -> None:
        self.start = start or Position()
        self.saved = self.start
        self.step = step

    def move_to(self, saved: Position, *, step: int) -> None:
        """Note a newer saved state."""
        self.saved, self.step = saved, step
