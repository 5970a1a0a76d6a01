"""Create stored predictions beside the records that tests create."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fake_runs import PLACES, lay, run, score

from imgrec import predictions
from imgrec.predictions import Place, Predicted

TEST_LAST: Place = ("test", "clean", "last")


def predicted(correct: Sequence[bool], *, confidence: float | Sequence[float] = 0.7, first: int = 0) -> Predicted:
    """Of two classes; first: the number of the first image."""
    right = np.asarray(correct, bool)
    sure = np.broadcast_to(np.asarray(confidence, float), right.shape)
    return predictions.predicted(
        indices_n=np.arange(first, first + len(right)),
        targets_n=np.zeros(len(right), int),
        predicted_n=np.where(right, 0, 1),
        confidence_n=sure,
        true_n=1 - sure,
    )


def lay_answers(
    place: Path, answers: Mapping[str, Sequence[Predicted | None]], *, packed: bool = True, **changes: Any
) -> None:
    """Lay a run for each of these, its place its seed, with its predictions; None for no run.

    packed: as records with one file of predictions; else as run folders.
    """
    kept: dict[str, dict[Place, Predicted]] = {}
    for words, row in answers.items():
        for seed, found in enumerate(row):
            if found is None:
                continue
            top1 = float(found.correct_n.mean())
            named = {predictions.key_of(("test", "clean", at)): found.digest() for at in PLACES}
            scores = [replace(score("top1", top1, at=at), n=len(found.targets_n)) for at in PLACES]
            record = run(f"{words} seed={seed}", *scores, predictions=named, **changes)
            own: dict[Place, Predicted] = {("test", "clean", at): found for at in PLACES}
            kept[record.run_id] = own
            path = lay(place / "records" if packed else place, record)
            if not packed:
                predictions.write(path.parent / predictions.NAME, {record.run_id: own})
    if packed:
        predictions.write(place / predictions.NAME, kept)
