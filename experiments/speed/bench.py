"""What imgrec costs and gains, each time beside something else: `python experiments/speed/bench.py --data-root DIR`.

Every comparison takes turns within one run, so that a machine that changes its pace changes it for all sides; a ratio
is taken within a round. Run it on a machine that does nothing else.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import folders
import gradients
import overhead
import pipeline
import startup
import tables
import to94
from ratios import Row, about, table

from imgrec.config.data import default_root
from imgrec.errors import RunError, UsageError

Measure = Callable[[Path, int], list[Row]]

SECTIONS: dict[str, tuple[str, Measure]] = {
    "overhead64": (
        "The framework beside a bare loop, batch 64",
        lambda root, rounds: overhead.measure(root, rounds, batch_size=64),
    ),
    "overhead512": (
        "The framework beside a bare loop, batch 512",
        lambda root, rounds: overhead.measure(root, rounds, batch_size=512),
    ),
    "pipeline": ("Input pipeline: crop and flip, batches of 512", pipeline.measure),
    "gradients": ("Weight gradients of small images", lambda root, rounds: gradients.measure(rounds)),
    "to94": ("Seconds and FLOPs of a run to 94 % on CIFAR-10", to94.measure),
    "tables": ("A table of 200 records", lambda root, rounds: tables.measure(rounds)),
    "folders": ("A start over a folder of many files", lambda root, rounds: folders.measure(rounds)),
    "startup": ("From the command to the first step", lambda root, rounds: startup.measure(rounds)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--data-root", default=default_root(), help="holds cifar-10-batches-py (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here, after each section")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {arguments.rounds}")
    if arguments.json and not arguments.json.parent.is_dir():
        parser.error(f"--json must lie in a folder that exists, got {arguments.json}")
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"sections must be among {', '.join(SECTIONS)}, got {', '.join(sorted(unknown))}")
    root = Path(arguments.data_root).expanduser()
    figures = {}
    try:
        for name in arguments.sections or SECTIONS:
            title, measure = SECTIONS[name]
            rows = measure(root, arguments.rounds)
            figures[name] = [row.as_json() for row in rows]
            if arguments.json:
                found = {"about": about(), "rounds": arguments.rounds, "figures": figures}
                arguments.json.write_text(json.dumps(found, indent=1))
            print(table(title, rows), end="\n\n", flush=True)
    except (RunError, UsageError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.rounds} rounds; {about()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
