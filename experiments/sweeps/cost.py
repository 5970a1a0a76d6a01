"""Does sweep.estimate=true tell what a sweep takes? And what are the parts of a run's time here?

python experiments/sweeps/cost.py [--parts] [--only NAME] [--launchers basic,pool]

Each sweep is estimated from a measurement, carried out, and estimated again, with other seeds, from its records. The
ratio is that of the estimated to the real wall time of the command. --parts prints what one kind of run was measured
to consist of. Wall time: run it on a machine that does nothing else.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import tell_place

from imgrec import records
from imgrec.sweeps.rehearsal import Rehearsal, rehearse

_DIGITS = ["data=digits", "trainer=cpu", "trainer.threads=1", "trainer.tensorboard=false"]
SWEEPS = {
    "cnn": [*_DIGITS, "trainer.max_epochs=10", "optimizer=sgd,adam", "seed=range(4)"],
    "whitened_cnn": [
        *(*_DIGITS, "model=whitened_cnn", "augment=crop_flip", "loss=label_smoothing", "test_protocols=[tta_flip]"),
        *("trainer.max_epochs=2", "data.batch_size=64,128", "seed=range(3)"),
    ],
}
_LAUNCHERS = {"basic": ["launcher=basic"], "pool": ["launcher=pool", "launcher.processes=2"]}
_UNITS = {"s": 1, "min": 60, "h": 3600}


def load() -> str:
    """Return how many processes wanted a core in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def command(words: list[str], folder: str) -> tuple[float, str]:
    """Return the wall time of a sweep's command, and what it printed."""
    began = time.perf_counter()
    whole = [sys.executable, "-m", "imgrec", "train", "-m", *words, "hydra.sweep.dir=runs"]
    done = subprocess.run(whole, cwd=folder, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - began, done.stdout


def wall(estimate: str) -> list[float]:
    """Return the seconds of an estimate's line `wall time`: usual, low, high."""
    (line,) = [line for line in estimate.splitlines() if line.startswith("wall time")]
    found = re.findall(r"([\d.]+) (s|min|h)\b", line.partition("(")[0])
    return [float(number) * _UNITS[unit] for number, unit in found] * (1 if len(found) == 3 else 3)


def check(name: str, launcher: str) -> None:
    """Print the rows of a sweep."""
    words = [*SWEEPS[name], *_LAUNCHERS[launcher]]
    with tempfile.TemporaryDirectory() as folder:
        loads = [load()]
        took, estimate = command([*words, "sweep.estimate=true"], folder)
        if list(Path(folder).iterdir()):
            sys.exit("an estimate must write nothing")
        loads.append(load())
        real, _ = command(words, folder)
        loads.append(load())
        paths = list(Path(folder, "runs").glob("*/record.json"))
        told = [records.read(path).cost["seconds"] for path in paths]
        others = [word.replace("seed=range(", "seed=range(10,1") if "seed" in word else word for word in words]
        _, again = command([*others, "sweep.estimate=true"], folder)
    at_a_time = 2 if launcher == "pool" else 1
    around = ((real - start()) * at_a_time - sum(told)) / len(told)
    for source, (seconds, low, high) in (("measurement", wall(estimate)), ("records", wall(again))):
        ends = f"{seconds:.0f} [{low:.0f}, {high:.0f}]"
        print(
            f"| {name} | {launcher} | {source} | {len(told)} | {ends} | {real:.0f} | {seconds / real:.2f} |", flush=True
        )
    print(
        f"<!-- the estimate took {took:.0f} s; {around:.2f} s a run besides record and start;"
        f" load {', '.join(loads)} -->",
        flush=True,
    )


def start() -> float:
    """Return the seconds of a process that imports the libraries."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import imgrec.training.run, imgrec.execution"], check=True)
    return time.perf_counter() - began


def parts(name: str) -> Rehearsal:
    """Return what the first run of the sweep consists of, measured in this process."""
    import torch

    from imgrec.config.compose import compose, expand
    from imgrec.training import run  # noqa: F401 - imports what a run needs before anything is measured

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return rehearse(compose(expand(SWEEPS[name])[0]), Path(folder), 10)


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--only", default=",".join(SWEEPS))
    parser.add_argument("--launchers", default=",".join(_LAUNCHERS))
    options = parser.parse_args()
    names = options.only.split(",")
    if options.parts:
        print(f"a process that imports the libraries: {start():.1f} s\n")
        for name in names:
            found = parts(name)
            print(f"| {name} | seconds |\n| --- | --- |")
            print(f"| the first run of a process, besides | {found.first:.2f} |")
            print(f"| of it: loading the images | {found.load:.2f} |")
            print(f"| a later run, besides | {found.later:.2f} |")
            print(f"| a step of {found.batch} images ({found.steps} timed) | {found.step[1]:.4f} |")
            print(f"| a training image | {found.step[1] / found.batch:.6f} |")
            print(f"| a validation image | {found.val_image:.6f} |")
            print(f"| an epoch besides: saving, logging | {found.epoch:.3f} |")
            print(f"| an image of the final reading, at best and last | {found.read_image:.6f} |\n", flush=True)
    else:
        print("| sweep | launcher | from | runs | estimated s | real s | ratio |\n|" + " --- |" * 7)
        for name in names:
            for launcher in options.launchers.split(","):
                check(name, launcher)
    tell_place()


if __name__ == "__main__":
    main()
