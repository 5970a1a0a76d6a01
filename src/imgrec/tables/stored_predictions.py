"""Read the predictions that runs stored beside their records, each file once and on request. Imports no torch."""

from pathlib import Path

from imgrec import predictions
from imgrec.errors import RunError, shown
from imgrec.predictions import Place, Predicted
from imgrec.tables.gather import Run


class StoredPredictions:
    """Finds the predictions of runs.

    A run's folder contains its own. For a record without a folder they are in the packed file beside it or one folder
    up.
    """

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, dict[Place, Predicted]]] = {}

    def of(self, run: Run, place: Place) -> Predicted | None:
        """Return the network's prediction for each image; None where predictions were not kept.

        Raises:
            RunError: The file is damaged, or contains other predictions than the record names.
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
        """Return the keys of the places for which readable files contain predictions of the run."""
        files = [self._read.get(path, {}) for path in _files(run)]
        return list(
            dict.fromkeys(predictions.key_of(place) for each in files for place in each.get(run.record.run_id, {}))
        )


def _files(run: Run, key: str = "") -> list[Path]:
    """Return the files that may contain the run's predictions; for a run with a folder, those of the key."""
    places = predictions.beside(run.path) if run.folder is None else run.kept_in.get(key, ())
    return [path for path in places if path.is_file()]


def _namer(run: Run, path: Path) -> Path:
    """Return the file that names the predictions: the record, or the later measurement."""
    return run.path if path.name == predictions.NAME else path.with_suffix(".json")
