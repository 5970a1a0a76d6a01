"""Keep what a study leaves: `python experiments/keep.py outputs/seeds experiments/seeds`.

Copies the records of the finished runs of a sweep into records/, and its tuning.json beside them. Packs what the final
runs' networks said of each test image, at the last epoch, into predictions.npz. What lies there already stays, so that
the runs of several machines come together; `sweep.known=experiments/seeds/records` then counts them as finished.
"""

import shutil
import sys
from pathlib import Path

from imgrec import predictions, records
from imgrec.errors import RunError
from imgrec.predictions import Place, Predicted
from imgrec.runfolder import RECORD, TUNING

KEPT: Place = ("test", "clean", "last")


def main(sweep: Path, study: Path) -> None:
    """Copy and pack. Raises RunError for a run that lies there with other scores, and for damaged files."""
    folder = study / "records"
    folder.mkdir(parents=True, exist_ok=True)
    packed = study / predictions.NAME
    found: dict[str, dict[Place, Predicted]] = predictions.read(packed) if packed.is_file() else {}
    before = {record.run_id: record for record in map(records.read, sorted(folder.glob("*.json")))}
    copied = 0
    for path in sorted(sweep.glob(f"*/{RECORD}")):
        record = records.read(path)
        if record.status != "finished":
            continue
        if (known := before.get(record.run_id)) is not None:
            if known.weights != record.weights:
                raise RunError(f"{path} must have the weights of the run that {folder} holds; keep one of the two")
            continue
        shutil.copy(path, folder / f"{path.parent.name}.json")
        copied += 1
        if predictions.key_of(KEPT) in record.predictions:
            own = predictions.read(path.parent / predictions.NAME)[record.run_id]
            found[record.run_id] = {KEPT: own[KEPT]}
    if found:
        predictions.write(packed, found)
    if (sweep / TUNING).is_file():
        shutil.copy(sweep / TUNING, study / TUNING)
    print(f"{copied} more records, {len(before) + copied} in all; {len(found)} with predictions")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
