"""The stages of the check of a GPU: each runs commands as a user gives them, and returns what to write."""

import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgrec import records
from imgrec.records import Record

ROOT = Path(__file__).resolve().parents[2]
IMGREC = [sys.executable, "-m", "imgrec"]
RUNS = 4  # at once, and one by one
GRACE = 60.0  # seconds for a run to save after SIGTERM


@dataclass(kw_only=True)
class Place:
    """Where and with which images the stages run.

    Attributes:
        work: A folder for ResNet-50, which a later check goes on with.
        fresh: An empty folder for the other runs.
        words: The words that every run gets.
        small: The words that make a recipe tiny for the rehearsal; none on a GPU.
    """

    work: Path
    fresh: Path
    words: list[str]
    small: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command: its exit code (None if it was ended as its time was over), its seconds, and its last lines."""

    command: str
    code: int | None
    seconds: float
    said: str

    def to_json(self) -> dict[str, Any]:
        told = {"command": self.command, "seconds": round(self.seconds, 1), "code": self.code}
        return told if self.code == 0 else {**told, "said": self.said}


def run(command: list[str], *, seconds: float, where: Path = ROOT) -> Ended:
    """Run a command for so many seconds at most. It is asked to end, and killed if it does not."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=where, stdout=output, stderr=subprocess.STDOUT)
        code: int | None = None
        try:
            code = process.wait(max(seconds, 1.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        output.seek(0)
        said = "\n".join(output.read().splitlines()[-8:])
    told = " ".join("python" if word == sys.executable else word for word in command)
    return Ended(command=told, code=code, seconds=time.monotonic() - began, said=said)


class Utilisation:
    """The mean utilisation of the first GPU in a block, as nvidia-smi samples it; None without nvidia-smi."""

    def __init__(self) -> None:
        self._percent: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Utilisation":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def mean(self) -> float | None:
        return round(sum(self._percent) / len(self._percent), 1) if self._percent else None

    def _sample(self) -> None:
        asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while not self._over.wait(0.5):
            try:
                said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout
                self._percent.append(float(said.split()[0]))
            except (OSError, subprocess.SubprocessError, ValueError, IndexError):
                return


def record_in(folder: Path) -> Record | None:
    path = folder / "record.json"
    return records.read(path) if path.is_file() else None


def top1(record: Record | None) -> float | None:
    """The test top1 of the last epoch, under the recipe's own protocol; None without one."""
    found = [row for row in record.scores if (row.split, row.metric) == ("test", "top1")] if record else []
    return found[-1].value if found else None


def suite(place: Place, seconds: float) -> dict[str, Any]:
    """The tests marked gpu."""
    report = place.fresh / "suite.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "tests/gpu",
        f"--junitxml={report}",
        "-p",
        "no:cacheprovider",
    ]
    ended = run(command, seconds=seconds)
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    failed = list[str]()
    if report.is_file():
        tree = ElementTree.parse(report).getroot()
        for each in tree.iter("testsuite"):
            counts = {name: int(each.get(name, "0")) for name in counts}
        failed = [case.get("name", "") for case in tree.iter("testcase") if case.find("failure") is not None]
    return {**ended.to_json(), **counts, "failed": failed}


def speed(place: Place, seconds: float) -> dict[str, Any]:
    """speed94_gpu twice, where the second run finds what the first one has compiled, and once with CUDA graphs."""
    until, found = time.monotonic() + seconds, list[dict[str, Any]]()
    with_graphs = ["trainer.compile=false", "trainer.graphs=true"] if not place.small else []  # which a CPU has not
    for number, (seed, more) in enumerate(((0, []), (1, []), (0, with_graphs))):
        folder = place.fresh / f"speed94_gpu-{number}"
        words = ["experiment=speed94_gpu", f"seed={seed}", *more, *place.words, *place.small]
        with Utilisation() as utilisation:
            ended = run([*IMGREC, "train", *words, f"hydra.run.dir={folder}"], seconds=until - time.monotonic())
        record = record_in(folder)
        cost = record.cost if record else {}
        found.append(
            {
                **ended.to_json(),
                "top1": top1(record),
                "train_seconds": cost.get("train_seconds"),
                "images_per_second": cost.get("images_per_second"),
                "utilisation_percent": utilisation.mean,
            }
        )
    return {"runs": found}


def sharing(place: Place, seconds: float) -> dict[str, Any]:
    """Four short runs, one by one and several at once: runs an hour, and their ratio."""
    until, rates = time.monotonic() + seconds, dict[str, Any]()
    words = ["experiment=speed94_gpu", f"seed=range({RUNS})", *place.words, *place.small]
    words += ["trainer.compile=false", "trainer.max_epochs=2", "test_protocols=[clean]"]
    for name, more in (("1", ["launcher.processes=1"]), ("2", ["launcher.per_gpu=2"]), ("4", ["launcher.per_gpu=4"])):
        folder = place.fresh / f"sharing-{name}"
        command = [*IMGREC, "train", "-m", *words, "launcher=pool", *more, f"hydra.sweep.dir={folder}"]
        ended = run(command, seconds=until - time.monotonic())
        rates[name] = {
            **ended.to_json(),
            "runs_an_hour": round(3600 * RUNS / ended.seconds) if ended.code == 0 else None,
        }
    one = rates["1"]["runs_an_hour"]
    ratios = {name: round(row["runs_an_hour"] / one, 2) for name, row in rates.items() if one and row["runs_an_hour"]}
    return {"at_once": rates, "ratio_to_one_by_one": ratios}


def resnet50(place: Place, seconds: float) -> dict[str, Any]:
    """ResNet-50 for 16 epochs, as far as the time goes; the next check goes on from there."""
    folder = place.work / "resnet50"
    words = ["experiment=resnet50", "trainer.max_epochs=16", *place.words, *place.small, f"hydra.run.dir={folder}"]
    with Utilisation() as utilisation:
        ended = run([*IMGREC, "train", *words], seconds=seconds)
    record = record_in(folder)
    return {
        **ended.to_json(),
        "status": record.status if record else None,
        "steps": record.progress.get("steps") if record else None,
        "epochs": record.progress.get("epochs") if record else None,
        "top1": top1(record),
        "utilisation_percent": utilisation.mean,
    }


STAGES: dict[str, Callable[[Place, float], dict[str, Any]]] = {
    "suite": suite,
    "speed": speed,
    "sharing": sharing,
    "resnet50": resnet50,
}
