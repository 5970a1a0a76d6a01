"""What does a run cost besides its training, with launcher=pool, slurm and ray? And does a long sweep's memory grow?

python experiments/sweeps/clusters.py [--runs 200] [--launchers pool,slurm,ray]

Tiny runs, two at a time, on a SLURM and a Ray cluster that are this machine. The cost of a run is the sweep's wall time
times two over the number of runs, less the seconds that a run takes by its record. Memory is that of the sweep's own
process. Wall time: run it on a machine that does nothing else.
"""

import argparse
import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import WORDS, tell_place

from imgrec import records

_AT_A_TIME = 2
_PAUSE = 2.0  # seconds between two looks at the sweep's memory


def measure(launcher: str, runs: int, environment: dict[str, str]) -> tuple[float, list[int]]:
    """Return the seconds that a run costs besides its training, and the sweep's memory over time in MB."""
    settings = {
        "pool": ["launcher.processes=2"],
        "slurm": ["launcher.cpus_per_task=1", f"launcher.array_parallelism={_AT_A_TIME}"],
        "ray": ["launcher.num_cpus=1"],
    }[launcher]
    with tempfile.TemporaryDirectory() as folder:
        words = [*WORDS, "trainer.threads=1", f"launcher={launcher}", *settings, f"seed=range({runs})"]
        command = [sys.executable, "-m", "imgrec", "train", "-m", *words, "hydra.sweep.dir=runs"]
        began, memory = time.monotonic(), list[int]()
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            while process.poll() is None:
                memory.append(_megabytes(process.pid))
                time.sleep(_PAUSE)
        seconds = time.monotonic() - began
        found = [records.read(path) for path in Path(folder, "runs").glob("*/record.json")]
        finished = [record for record in found if record.status == "finished"]
        if len(finished) != runs:
            raise RuntimeError(f"{len(finished)} of {runs} runs finished: {Path(folder, 'log').read_text()[-2000:]}")
        alone = statistics.mean(record.cost["seconds"] for record in finished)
    return seconds * _AT_A_TIME / runs - alone, memory


def _megabytes(process: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
    return 0


@contextlib.contextmanager
def _slurm() -> Iterator[dict[str, str]]:
    path = Path(__file__).parents[1] / "cluster/slurm.py"
    spec = importlib.util.spec_from_file_location("trial_slurm", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    trial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trial)
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield {"SLURM_CONF": str(trial.start(Path(folder), nodes=2, cpus=1))}
        finally:
            trial.stop(Path(folder))


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--launchers", default="pool,slurm,ray")
    options = parser.parse_args()
    print("| launcher | seconds a run besides its training | the sweep's memory, MB: first quarter, last quarter |")
    print("| --- | --- | --- |")
    for launcher in options.launchers.split(","):
        with _slurm() if launcher == "slurm" else contextlib.nullcontext(dict[str, str]()) as more:
            each, memory = measure(launcher, options.runs, {**os.environ, "OMP_NUM_THREADS": "1", **more})
        settled = [size for size in memory[len(memory) // 10 :] if size]  # without its start
        quarter = max(1, len(settled) // 4)
        first, last = statistics.median(settled[:quarter]), statistics.median(settled[-quarter:])
        print(f"| {launcher} | {each:.2f} | {first:.0f}, {last:.0f} |", flush=True)
    tell_place(f", {options.runs} runs, {_AT_A_TIME} at a time with one thread each")


if __name__ == "__main__":
    main()
