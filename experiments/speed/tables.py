"""How long `imgrec table` takes over 200 records, beside importing the library that it does without."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

from ratios import Row, ratio
from startup import IMGREC, TORCH, seconds

from imgrec import records

RECORDS = Path(__file__).parents[1] / "article" / "records"
RUNS = 200


def measure(rounds: int) -> list[Row]:
    with TemporaryDirectory() as folder:
        _fill(Path(folder))
        command = (IMGREC, "table", folder, "--scores", "top1,loss,ece", "--baseline", "experiment=article")
        for each in (command, TORCH):
            seconds(each)  # the disk's cache and the compiled modules
        table, torch = (
            Row(name=name, values=values, unit="s")
            for name, values in zip(
                (f"imgrec table of {RUNS} records", "import torch"),
                zip(*((seconds(command), seconds(TORCH)) for _ in range(rounds)), strict=True),
                strict=True,
            )
        )
    return [ratio("table / import torch", table, torch, aim="<= 0.8"), table, torch]


def _fill(folder: Path) -> None:
    """Runs' folders with the records of experiments/article, again and again under other seeds."""
    known = [records.read(path) for path in sorted(RECORDS.glob("*.json"))]
    for number in range(RUNS):
        record = known[number % len(known)]
        seed = record.config["seed"] + len(known) * (number // len(known))
        run = folder / f"{record.experiment}_seed-{seed}"
        run.mkdir()
        again = dataclasses.replace(record, run_id=f"{number:064x}", config={**record.config, "seed": seed})
        records.write(run / "record.json", again)
