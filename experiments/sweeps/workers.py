"""What do workers save? 24 runs of one epoch on the digits: a process for each run, and in workers that take several.

python experiments/sweeps/workers.py [--rounds 3] [--processes 2]

Both sides are sweeps with launcher=pool and as many processes at a time, taking turns on the CPU; the ratio comes
first. Wall time: run it on a machine that does nothing else.
"""

import argparse
import statistics

from bench import RUNS, WORDS, seconds, tell_place, tell_sides


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    pool = ["launcher=pool", f"launcher.processes={options.processes}", "trainer.threads=1"]
    apart = ["-m", *WORDS, *pool, f"seed=range({RUNS})"]
    workers = [*apart, "launcher.per_gpu=1"]
    pairs = [(seconds([workers]), seconds([apart])) for _ in range(options.rounds)]
    ratios = [other / one for one, other in pairs]
    median, least, most = statistics.median(ratios), min(ratios), max(ratios)
    print(f"runs an hour, launcher.per_gpu=1 / a process for each run: {median:.2f} [{least:.2f}, {most:.2f}]")
    tell_sides(("workers", "a process for each run"), pairs)
    tell_place(f", {options.processes} processes of one thread")


if __name__ == "__main__":
    main()
