"""The predictions of runs, beside their records: read when a table asks for them, each file once. Imports no torch."""

from collections.abc import Iterator
from pathlib import Path

from imgrec import predictions
from imgrec.errors import RunError, shown
from imgrec.predictions import Place, Predicted
from imgrec.runfolder import EVALUATIONS
from imgrec.tables.gather import Run


class Kept:
    """Finds predictions: of a run's folder in it, of a lone record in the packed file beside it or one folder up."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, dict[Place, Predicted]]] = {}

    def of(self, run: Run, place: Place) -> Predicted | None:
        """What the run's network said of each image; None where that is not kept.

        Raises RunError for a file that is damaged, or whose predictions are not those that the record names.
        """
        digest = run.record.predictions.get(predictions.key_of(place))
        if digest is None:
            return None
        other: Path | None = None
        for path in _files(run):
            if path not in self._read:
                self._read[path] = predictions.read(path)
            found = self._read[path].get(run.record.run_id, {}).get(place)
            if found is not None and found.digest() == digest:
                return found
            if found is not None:
                other = path
        if other is not None:
            raise RunError(
                f"{shown(other)} must hold the predictions that {shown(run.path)} names, {digest[:12]}..., and holds"
                f" others for {predictions.key_of(place)}; restore it, or remove it: tables then tell of seeds alone"
            )
        return None

    def places(self, run: Run) -> list[str]:
        """The keys of the places of which readable files keep the run's predictions."""
        files = [self._read.get(path, {}) for path in _files(run)]
        return list(
            dict.fromkeys(predictions.key_of(place) for each in files for place in each.get(run.record.run_id, {}))
        )


def _files(run: Run) -> Iterator[Path]:
    """Where the run's predictions may lie."""
    if run.folder is None:
        places = predictions.beside(run.path)
    else:
        places = [run.folder / predictions.NAME, *sorted((run.folder / EVALUATIONS).glob("*.npz"))]
    yield from (path for path in places if path.is_file())
