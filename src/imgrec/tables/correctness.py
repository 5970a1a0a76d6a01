"""Which images each of a setting's runs gets right, where its predictions are kept. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec import predictions
from imgrec.errors import RunError, shown
from imgrec.predictions import Predicted
from imgrec.records import Score
from imgrec.tables import factors
from imgrec.tables.column import Column
from imgrec.tables.gather import Run
from imgrec.tables.images import named
from imgrec.tables.stored_predictions import Kept

Key = tuple[int, int]
_METRIC = "top1"  # the one score that is a mean over images of what predictions tell exactly


@dataclass(frozen=True, kw_only=True)
class Answers:
    """images: tells which images they are. correct: a row for each run, bool (N,), in the order of their keys."""

    images: str
    correct: Mapping[Key, NDArray[np.bool_]]

    @property
    def matrix(self) -> NDArray[np.bool_]:
        """Bool (S, N): the runs in the order of their keys."""
        return np.stack([self.correct[key] for key in sorted(self.correct)])


class Reader:
    """Reads predictions for a table.

    problems: files that could not be read; the table then tells of seeds alone. named: the runs whose records name
    predictions that were asked for. lost: those of them that have none to read. thinned: by the place that was asked
    for, the other places of which alone a study's packed file keeps predictions.
    """

    def __init__(self) -> None:
        self._kept = Kept()
        self.problems: list[str] = []
        self.named: set[Path] = set()
        self.lost: set[tuple[Path, str]] = set()
        self.thinned: dict[str, list[str]] = {}

    def of(self, run: Run, score: Score) -> Predicted | None:
        """What the run's network said of the images that the score was measured on; None where that is not kept."""
        place = score.split, score.protocol, score.at
        key = predictions.key_of(place)
        if key not in run.record.predictions:
            return None
        self.named.add(run.path)
        try:
            found = self._kept.of(run, place)
            if found is not None:
                _check(found, run, score)
                return found
        except RunError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
        if run.folder is None and (others := self._kept.places(run)) and key not in others:
            self.thinned.setdefault(key, others)
        else:
            self.lost.add((run.path, key))
        return None

    def lacking(self, scored: Mapping[Key, tuple[Run, Score]], column: Column) -> int:
        """How many of the runs lack predictions that their records name, after `answers` has asked for them.

        Those that a study's packed file leaves out do not count.
        """
        if column.metric != _METRIC:
            return 0
        keys = [
            (run.path, predictions.key_of((score.split, score.protocol, score.at))) for run, score in scored.values()
        ]
        return sum(key in self.lost for key in keys)

    def answers(self, scored: Mapping[Key, tuple[Run, Score]], column: Column) -> Answers | None:
        """Of the runs with a score; None unless the predictions of all are kept, and of the same images."""
        if column.metric != _METRIC or not scored:
            return None
        correct: dict[Key, NDArray[np.bool_]] = {}
        images: set[str] = set()
        read = {key: self.of(run, score) for key, (run, score) in scored.items()}
        for key, (run, score) in scored.items():
            found = read[key]
            if found is None or not len(found.targets_n):
                return None
            correct[key] = found.correct_n
            images.add(repr((found.images(), named(run.record), factors.drawn(run.record, score.split))))
        return Answers(images=images.pop(), correct=correct) if len(images) == 1 else None


def _check(found: Predicted, run: Run, score: Score) -> None:
    """Raises RunError for predictions of another number of images than the score, or with another top1 than the run."""
    images = len(found.targets_n)
    key = predictions.key_of((score.split, score.protocol, score.at))
    top1 = run.record.score(_METRIC, split=score.split, at=score.at, protocol=score.protocol)
    right = int(found.correct_n.sum())
    if images != score.n or (top1 is not None and abs(right - top1.value * images) > 0.5):
        said = f"{_METRIC} {top1.value:g}" if top1 is not None else score.metric
        raise RunError(
            f"{shown(run.path)} must name the predictions that its scores come from, and for {key} it has {said} of"
            f" {score.n} images, and predictions that are right about {right} of {images}; restore the"
            " record, which has been changed"
        )
