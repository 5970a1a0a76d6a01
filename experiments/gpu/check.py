"""What does imgrec do on this GPU? Its tests there, its speed, several runs at once, and as much of ResNet-50 as fits.

make gpu-check                    ten minutes at most; writes experiments/gpu/<device>.json
REHEARSE=1 make gpu-check         every stage on the CPU with tiny images; writes nothing here

Needs CIFAR-10 in $IMGREC_DATA_DIR or data/. The same command goes on with ResNet-50 where the last one ended.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from stages import ROOT, STAGES, Place

from imgrec import gpus
from imgrec.environment import environment

SHARES = {"suite": 0.3, "speed": 0.25, "sharing": 0.25, "resnet50": 0.2}  # of the time
AIM_SPEED, AIM_RESNET = 0.94, 0.938  # top1: the published recipe's, and the one of the article that imgrec began from


def what_next(stages: dict[str, dict[str, Any]]) -> list[str]:
    """What to do after this check, the gravest first."""
    told = list[str]()
    tests, runs, net = stages["suite"], stages["speed"]["runs"], stages["resnet50"]
    if tests["failed"] or tests["code"] != 0:
        told.append(
            f"mend what fails in tests/gpu: {', '.join(tests['failed']) or tests.get('said', 'it did not end')}"
        )
    reached = [row["top1"] for row in runs if row["top1"] is not None]
    if len(reached) < len(runs):
        told.append("find out why experiment=speed94_gpu does not end: see what it said")
    elif sum(reached) / len(reached) < AIM_SPEED:
        told.append(f"experiment=speed94_gpu is below {AIM_SPEED:.0%} over these seeds: more seeds, then its rates")
    else:
        told.append("imgrec train -m experiment=speed94_gpu 'seed=range(30)' launcher=pool: its mean and deviation")
    if any(row["code"] != 0 for row in stages["sharing"]["at_once"].values()):
        told.append("find out why several runs do not share the GPU: see what they said")
    if net["status"] != "finished":
        told.append(f"the same command again: ResNet-50 goes on from step {net['steps'] or 0}")
    elif (net["top1"] or 0) < AIM_RESNET:
        told.append(f"ResNet-50 ended below {AIM_RESNET:.2%}: choose its rate on validation")
    return told


def tiny(work: Path) -> Place:
    """Drawn images of ten classes, and recipes made small."""
    draws = np.random.default_rng(0)
    for label in range(10):
        folder = work / "images" / f"class{label}"
        folder.mkdir(parents=True)
        for number in range(8):
            pixels = np.full((32, 32, 3), 20 * label, np.uint8) + draws.integers(0, 20, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    small = ["data=folder", f"data.root={work / 'images'}", "data.image_size=32", "data.batch_size=16"]
    small += ["data.eval_batch_size=16", "data.val_size=0", "data.test_size=20", "trainer.max_epochs=1"]
    small += ["trainer.compile=false", "trainer.precision=32", "test_precision=32"]
    words = ["trainer.accelerator=cpu", "trainer.threads=1", "trainer.progress=none", "trainer.tensorboard=false"]
    return Place(work=work, fresh=work, words=words, small=small)


def check(place: Place, minutes: float) -> dict[str, Any]:
    """Run every stage, each within its share of the time that is left, and return what to write."""
    until = time.monotonic() + 60 * minutes
    found, left = dict[str, dict[str, Any]](), dict(SHARES)
    for name, stage in STAGES.items():
        seconds = (until - time.monotonic()) * left[name] / sum(left.values())
        print(f"{name}: {seconds:.0f} s at most", flush=True)
        began = time.monotonic()
        found[name] = stage(place, seconds)
        del left[name]
        print(f"{name}: {time.monotonic() - began:.0f} s\n{json.dumps(found[name], indent=1)}", flush=True)
    told = environment()
    seen = gpus.found()
    return {
        "device": seen.names[0] if seen.names else told["cpu"],
        "driver": seen.driver,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": told,
        "stages": found,
        "next": what_next(found),
    }


def all_ended(stages: dict[str, dict[str, Any]]) -> bool:
    """Whether every command did what it should. ResNet-50 may have had too little time."""
    commands = [stages["suite"], *stages["speed"]["runs"], *stages["sharing"]["at_once"].values()]
    return all(row["code"] == 0 for row in commands) and stages["resnet50"]["code"] in (0, None)


def rehearse() -> int:
    """Run every stage with tiny images on the CPU."""
    with tempfile.TemporaryDirectory() as work:
        ended = all_ended(check(tiny(Path(work)), minutes=60)["stages"])
    print("rehearsed: every stage did what it should" if ended else "rehearsed: a stage failed; see what it said")
    return 0 if ended else 1


def main() -> int:
    """Check, and write and print what was found. The status is 0 if every stage did what it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.5, help="the time for all stages")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs/gpu-check", help="the folder of its runs")
    options = parser.parse_args()
    if os.environ.get("REHEARSE") == "1":
        return rehearse()
    seen = gpus.found()
    if not seen.names:
        print(f"no GPU to check: {seen.why_not or 'this machine has none'}; REHEARSE=1 make gpu-check tries it out")
        return 1
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    words = ["trainer.accelerator=gpu", "trainer.progress=none", "trainer.tensorboard=false"]
    place = Place(work=work, fresh=Path(tempfile.mkdtemp(prefix="check-", dir=work)), words=words)
    outcome = check(place, options.minutes)
    name = re.sub(r"[^a-z0-9]+", "-", outcome["device"].lower()).strip("-")
    path = Path(__file__).resolve().parent / f"{name}.json"
    path.write_text(json.dumps(outcome, indent=1) + "\n")
    print(f"written: {path}")
    for number, each in enumerate(outcome["next"], 1):
        print(f"next {number}: {each}")
    return 0 if all_ended(outcome["stages"]) else 1


if __name__ == "__main__":
    sys.exit(main())
