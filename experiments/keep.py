"""Keep what a study leaves: `python experiments/keep.py outputs/seeds experiments/seeds`.

Copies the records of the finished runs of a sweep into records/, without the path of the images. Packs what the final
runs' networks said of each test image, at the last epoch, into predictions.npz. Joins its tuning.json with the one that
lies there. What is there stays, so that the runs of several machines come together;
`sweep.known=experiments/seeds/records` counts them as finished.
"""

import dataclasses
import sys
from pathlib import Path

from imgrec import predictions, records, tuning_file
from imgrec.errors import RunError
from imgrec.predictions import Place, Predicted
from imgrec.records import Record
from imgrec.runfolder import RECORD

KEPT: Place = ("test", "clean", "last")


def main(sweep: Path, study: Path) -> str:
    """Pack, then copy; what could be kept, in words.

    Raises RunError, before anything is written, for a run that lies there with other weights, for one whose predictions
    are lost, and for damaged files.
    """
    folder = study / "records"
    packed = study / predictions.NAME
    found = predictions.read(packed) if packed.is_file() else {}
    before = {record.run_id: record for record in map(records.read, sorted(folder.glob("*.json")))}
    finished = [(path, record) for path, record in _runs(sweep) if record.status == "finished"]
    for path, record in finished:
        if record.run_id in before and before[record.run_id].weights != record.weights:
            raise RunError(f"{path} must have the weights of the run that {folder} holds; keep one of the two")
        if record.run_id not in found and (own := _predicted(path, record)) is not None:
            found[record.run_id] = {KEPT: own}
    rows = {row.choice: row for place in (study, sweep) for row in tuning_file.read(place / tuning_file.NAME)}
    folder.mkdir(parents=True, exist_ok=True)
    if found:
        predictions.write(packed, dict(sorted(found.items())))  # the same bytes, whichever run came first
    if rows:
        tuning_file.write(study / tuning_file.NAME, rows.values())
    new = [(path, record) for path, record in finished if record.run_id not in before]
    for path, record in new:
        records.write(folder / f"{path.parent.name}.json", _anywhere(record))
    return f"{len(new)} more records, {len(before) + len(new)} in all; {len(found)} with predictions"


def _anywhere(record: Record) -> Record:
    """The record with its images in `data`: where they lay on one machine is no part of the run, or of its id."""
    if "data.root" not in record.config:
        return record
    return dataclasses.replace(record, config={**record.config, "data.root": "data"})


def _runs(sweep: Path) -> list[tuple[Path, Record]]:
    return [(path, records.read(path)) for path in sorted(sweep.glob(f"*/{RECORD}"))]


def _predicted(path: Path, record: Record) -> Predicted | None:
    """What is kept of a run; None of one that has not opened the test set."""
    digest = record.predictions.get(predictions.key_of(KEPT))
    if digest is None:
        return None
    own = predictions.read(path.parent / predictions.NAME).get(record.run_id, {}).get(KEPT)
    if own is None or own.digest() != digest:
        raise RunError(f"{path.parent / predictions.NAME} must hold the predictions that {path} names; restore it")
    return own


if __name__ == "__main__":
    try:
        print(main(Path(sys.argv[1]), Path(sys.argv[2])))
    except RunError as error:
        sys.exit(f"keep: {error}")
