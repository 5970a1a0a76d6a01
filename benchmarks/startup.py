"""How long `imgrec --help` takes, beside `import torch`: processes in turn, several rounds.

python benchmarks/startup.py [--rounds 10]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TARGET = 0.5  # of the time of `import torch`, at most
HELP = (str(Path(sys.executable).with_name("imgrec")), "--help")
TORCH = (sys.executable, "-c", "import torch")


def seconds(command: Sequence[str]) -> float:
    """The wall time of the command, from the start of its process to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    for command in (HELP, TORCH):
        seconds(command)  # the disk's cache and the compiled modules
    rows = [(seconds(HELP), seconds(TORCH)) for _ in range(arguments.rounds)]
    ours, theirs = zip(*rows, strict=True)
    ratios = [own / other for own, other in rows]
    print(f"imgrec --help   {_spread(ours)} s")
    print(f"import torch    {_spread(theirs)} s")
    verdict = "met" if statistics.median(ratios) <= TARGET else "MISSED"
    print(f"ratio           {_spread(ratios)}   aim <= {TARGET}: {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
