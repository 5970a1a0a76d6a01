"""Which images each of a setting's runs gets right, where its predictions are kept. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgrec.errors import RunError
from imgrec.predictions import Predicted
from imgrec.records import Score
from imgrec.tables.column import Column
from imgrec.tables.gather import Run
from imgrec.tables.kept import Kept

Key = tuple[int, int]
_METRIC = "top1"  # the one score that is a mean over images of what predictions tell exactly


@dataclass(frozen=True, kw_only=True)
class Answers:
    """images: a digest of which images they are. correct: a row for each run, bool (N,), in the order of their keys."""

    images: str
    correct: Mapping[Key, NDArray[np.bool_]]

    @property
    def matrix(self) -> NDArray[np.bool_]:
        """Bool (S, N): the runs in the order of their keys."""
        return np.stack([self.correct[key] for key in sorted(self.correct)])


class Reader:
    """Reads predictions for a table. problems: files that could not be read; the table then tells of seeds alone."""

    def __init__(self) -> None:
        self._kept = Kept()
        self.problems: list[str] = []

    def of(self, run: Run, score: Score) -> Predicted | None:
        """What the run's network said of the images that the score was measured on; None where that is not kept."""
        try:
            return self._kept.of(run, (score.split, score.protocol, score.at))
        except RunError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return None

    def answers(self, scored: Mapping[Key, tuple[Run, Score]], column: Column) -> Answers | None:
        """Of the runs with a score; None unless the predictions of all are kept, and of the same images."""
        if column.metric != _METRIC or not scored:
            return None
        correct: dict[Key, NDArray[np.bool_]] = {}
        images: set[str] = set()
        for key, (run, score) in scored.items():
            found = self.of(run, score)
            if found is None or not len(found.targets_n):
                return None
            correct[key] = found.correct_n
            images.add(found.images())
        return Answers(images=images.pop(), correct=correct) if len(images) == 1 else None
