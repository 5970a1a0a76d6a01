"""The predictions of runs, beside their records: read when a table asks for them, each file once. Imports no torch."""

from pathlib import Path

from imgrec import predictions
from imgrec.errors import RunError, shown
from imgrec.predictions import Place, Predicted
from imgrec.tables.gather import Run


class Kept:
    """Finds predictions: of a run's folder in it, of a lone record in the packed file beside it or one folder up."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, dict[Place, Predicted]]] = {}

    def of(self, run: Run, place: Place) -> Predicted | None:
        """What the run's network said of each image; None where that is not kept.

        Raises RunError for a file that is damaged, or whose predictions are not those that the record names.
        """
        key = predictions.key_of(place)
        digest = run.record.predictions.get(key)
        if digest is None:
            return None
        other: Path | None = None
        for path in _files(run, key):
            if path not in self._read:
                self._read[path] = predictions.read(path)
            found = self._read[path].get(run.record.run_id, {}).get(place)
            if found is not None and found.digest() == digest:
                return found
            if found is not None:
                other = path
        if other is not None:
            raise RunError(
                f"{shown(other)} must hold the predictions that {shown(_namer(run, other))} names, {digest[:12]}...,"
                f" and holds others for {key}; restore it, or remove it: tables then tell of seeds alone"
            )
        return None

    def places(self, run: Run) -> list[str]:
        """The keys of the places of which readable files keep the run's predictions."""
        files = [self._read.get(path, {}) for path in _files(run)]
        return list(
            dict.fromkeys(predictions.key_of(place) for each in files for place in each.get(run.record.run_id, {}))
        )


def _files(run: Run, key: str = "") -> list[Path]:
    """Where the run's predictions may lie: in a folder, those of the key alone."""
    places = predictions.beside(run.path) if run.folder is None else run.kept_in.get(key, ())
    return [path for path in places if path.is_file()]


def _namer(run: Run, path: Path) -> Path:
    """The file that names what the file of predictions should hold: the record, or the later measurement beside it."""
    return run.path if path.name == predictions.NAME else path.with_suffix(".json")
