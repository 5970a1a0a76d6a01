"""Read which images each of a setting's runs classifies correctly, where predictions were kept. Imports no torch."""

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
from imgrec.tables.measured import settings_of
from imgrec.tables.stored_predictions import StoredPredictions

Key = tuple[int, int]
_METRIC = "top1"  # the only score that is the mean over images of values that predictions give exactly


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Which images a setting's runs classify correctly.

    Attributes:
        images: Identifies the images.
        correct: For each run's key, bool (N,).
    """

    images: str
    correct: Mapping[Key, NDArray[np.bool_]]

    @property
    def matrix(self) -> NDArray[np.bool_]:
        """Bool (S, N): one row for each run, in the order of their keys."""
        return np.stack([self.correct[key] for key in sorted(self.correct)])


class Reader:
    """Reads predictions for a table.

    Attributes:
        problems: Files that could not be read; the table's statements then cover seeds only.
        named: The runs whose records name predictions that were asked for.
        lost: The runs and places of these whose predictions cannot be read.
        thinned: For a place that was asked for, the other places for which a study's packed file keeps predictions.
    """

    def __init__(self) -> None:
        self._stored = StoredPredictions()
        self.problems: list[str] = []
        self.named: set[Path] = set()
        self.lost: set[tuple[Path, str]] = set()
        self.thinned: dict[str, list[str]] = {}

    def of(self, run: Run, score: Score) -> Predicted | None:
        """Return the network's predictions for the score's images; None where they were not kept."""
        place = score.split, score.protocol, score.at
        key = predictions.key_of(place)
        if key not in run.record.predictions or not _is_of_kept(run, score):
            return None
        self.named.add(run.path)
        try:
            found = self._stored.of(run, place)
            if found is not None:
                _check(found, run, score)
                return found
        except RunError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
        if run.folder is None and (others := self._stored.places(run)) and key not in others:
            self.thinned.setdefault(key, others)
        else:
            self.lost.add((run.path, key))
        return None

    def lacking(self, scored: Mapping[Key, tuple[Run, Score]], column: Column) -> int:
        """Return how many of the runs lack predictions that their records name. Call `answers` first.

        Runs that a study's packed file leaves out do not count.
        """
        if column.metric != _METRIC:
            return 0
        keys = [
            (run.path, predictions.key_of((score.split, score.protocol, score.at))) for run, score in scored.values()
        ]
        return sum(key in self.lost for key in keys)

    def answers(self, scored: Mapping[Key, tuple[Run, Score]], column: Column) -> Answers | None:
        """Return the answers of the runs that have a score.

        The result is None unless the predictions of all of them were kept, for the same images.
        """
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


def _is_of_kept(run: Run, score: Score) -> bool:
    """Return True if the score was measured with the settings of the kept predictions, which are those of the first."""
    first = run.record.score(_METRIC, split=score.split, at=score.at, protocol=score.protocol)
    return first is None or settings_of(run, first) == settings_of(run, score)


def _check(found: Predicted, run: Run, score: Score) -> None:
    """Check that predictions belong to the score.

    Raises:
        RunError: The number of images differs from the score's, or top1 differs from the run's.
    """
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
