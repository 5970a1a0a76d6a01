"""What does a sweep save? 24 runs of one epoch on the digits: in one sweep, and as 24 commands.

python experiments/sweeps/bench.py [--rounds 3] [--launcher basic]

Both sides are commands as a user gives them, in folders of their own, taking turns; the ratio comes first. Wall time:
run it on a machine that does nothing else.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from imgrec.environment import environment

RUNS = 24
WORDS = ["data=digits", "trainer=cpu", "trainer.max_epochs=1"]


def seconds(commands: list[list[str]]) -> float:
    """The time that these `imgrec train` commands take one after the other, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for words in commands:
            whole = [sys.executable, "-m", "imgrec", "train", *words]
            done = subprocess.run(whole, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
        took = time.perf_counter() - began
        finished = len(list(Path(folder).glob("outputs/default/*/record.json")))
        if finished != RUNS:
            sys.exit(f"{RUNS} runs must have finished, got {finished}")
    return took


def tell_sides(names: tuple[str, str], pairs: list[tuple[float, float]]) -> None:
    """Print the seconds of both sides."""
    for name, values in zip(names, zip(*pairs, strict=True), strict=True):
        print(f"{name}: {statistics.median(values):.1f} s [{min(values):.1f}, {max(values):.1f}]")


def tell_place(more: str = "") -> None:
    """Print where it was measured, and at which commit."""
    now = environment()
    print(f"{now['cpu']}, {now['cores']} cores{more}; torch {now['torch']}, lightning {now['lightning']}")
    print(f"commit {now['commit']}{' (dirty)' if now['dirty'] else ''}")


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--launcher", default="basic")
    options = parser.parse_args()
    sweep = [["-m", *WORDS, f"launcher={options.launcher}", f"seed=range({RUNS})"]]
    single = [[*WORDS, f"seed={seed}"] for seed in range(RUNS)]
    pairs = [(seconds(sweep), seconds(single)) for _ in range(options.rounds)]
    ratios = [one / other for one, other in pairs]
    median, least, most = statistics.median(ratios), min(ratios), max(ratios)
    print(f"one sweep of {RUNS} runs / {RUNS} commands: {median:.3f} [{least:.3f}, {most:.3f}]  (aim <= 0.5)")
    tell_sides(("sweep", "commands"), pairs)
    tell_place()


if __name__ == "__main__":
    main()
