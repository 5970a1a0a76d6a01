"""Find finished runs that took as long as a run of a sweep will take, images aside. Imports no torch."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec import records
from imgrec.config import serialize
from imgrec.config.root import MEASURED, Config
from imgrec.errors import RunError, UsageError
from imgrec.records import Record
from imgrec.runfolder import OUTPUTS, RECORD, VERIFICATIONS
from imgrec.tuning_file import NAME as TUNING

# keys, and whole axes, that cost no time, or whose part in it is computed
_FREE = {
    *("seed", "init_seed", "init_from", "experiment", "study", "primary", "resume", "resume_override", "force", "code"),
    *("data.split_seed", "data.fold", "data.root", "data.download", "data.prune", "data.prune_after"),
    *("data.subset_seed", "data.label_noise", "data.noise_kind", "data.noise_seed"),
    *("trainer.max_epochs", "trainer.accelerator", "trainer.threads", "trainer.progress", "trainer.early_stopping"),
    *("trainer.nonfinite_skips", "trainer.fast_dev_run"),
}
_FREE_AXES = ("schedule", "launcher", "sweep")
_EXACT = ("data", *MEASURED, "protocol")  # whose floats are sizes

Seconds = tuple[float, float, float]
"""Low, usual and high."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What computes a run.

    Attributes:
        device: The name of the GPU, or of the CPU.
        threads: The number of threads of a process.
        shared: The number of runs at a time on the same GPU.
    """

    device: str
    threads: int
    shared: int = 1


def kind(config: Config) -> str:
    """Return a text that is the same for configurations whose runs take equally long, epochs aside.

    Seeds and schedules cost no time. A rate or another number with a fraction costs none by its size, but may by being
    0. Such numbers of the data axis are sizes.
    """
    found: dict[str, Any] = {}
    for key, value in serialize.flat(config).items():
        axis = key.partition(".")[0]
        if key in _FREE or axis in _FREE_AXES:
            continue
        found[key] = value != 0 if isinstance(value, float) and axis not in _EXACT else value
    return json.dumps(found, sort_keys=True, default=str)


@dataclass(frozen=True, kw_only=True)
class LikeRuns:
    """Finished runs of one kind, from one folder.

    Attributes:
        place: The folder.
        found: Their records.
    """

    place: Path
    found: Sequence[Record]

    def seconds(self, epochs: int) -> Seconds:
        """Return the seconds of a run of so many epochs: the least, the median and the most.

        The time of the training is scaled by the images. Of the rest of a run of other epochs it is unknown which part
        belongs to an epoch (validation, saving), and which to the whole run (start, final reading): all or nothing.
        """
        lows, middles, highs = [], [], []
        for record in self.found:
            ratio = epochs / record.progress["epochs"]
            train, rest = record.cost["train_seconds"], record.cost["seconds"] - record.cost["train_seconds"]
            ends = sorted((train * ratio + rest, (train + rest) * ratio))
            lows.append(ends[0])
            middles.append(sum(ends) / 2)
            highs.append(ends[1])
        return min(lows), statistics.median(middles), max(highs)

    @property
    def images(self) -> int | None:
        """The number of images that an epoch trains on; None where records do not tell."""
        record = self.found[-1]
        rate = record.cost.get("images_per_second")
        return round(rate * record.cost["train_seconds"] / record.progress["epochs"]) if rate else None

    @property
    def flops_per_image(self) -> float | None:
        """FLOPs of the forward pass of an image; None where records do not tell."""
        flops = self.found[-1].cost.get("flops_per_image")
        return None if flops is None else float(flops)


class Known:
    """The finished runs of some folders.

    Args:
        own: The sweep's folder.
        more: Another folder of records (sweep.known); None without one.
    """

    def __init__(self, own: Path, more: Path | None) -> None:
        self._own = own
        self._places = [place for place in (own, more, Path(OUTPUTS)) if place is not None]
        self._read: dict[Path, dict[str, list[Record]]] = {}

    def like(self, config: Config, fingerprints: Sequence[str], machine: Machine | None) -> LikeRuns | None:
        """Return runs like this one from the first folder that has some; None if none has.

        Args:
            config: The run's configuration.
            fingerprints: Of its images.
            machine: What will compute it; None where that is another machine, so that only runs of the sweep count.
        """
        for place in self._places if machine is not None else [self._own]:
            if place not in self._read:
                self._read[place] = _finished_below(place)
            rows = self._read[place].get(kind(config), ())
            found = [
                record
                for record in rows
                if record.fingerprint in fingerprints and (machine is None or _machine_of(record) == machine)
            ]
            if found:
                return LikeRuns(place=place, found=found)
        return None


def _machine_of(record: Record) -> Machine:
    environment = record.environment
    device = environment.get("device") or ("+".join(environment.get("gpu") or []) or str(environment.get("cpu")))
    return Machine(
        device=str(device), threads=int(environment.get("threads") or 0), shared=int(environment.get("shared") or 1)
    )


def _finished_below(place: Path) -> dict[str, list[Record]]:
    """Return the finished records that say what they took, by their kind. Files that are no records are passed over."""
    found: dict[str, list[Record]] = {}
    seen = set()
    for path in sorted([*place.glob("*.json"), *place.glob(f"*/{RECORD}"), *place.glob(f"*/*/{RECORD}")]):
        if path.name == TUNING or VERIFICATIONS in path.relative_to(place).parts:
            continue
        try:
            record = records.read(path)
            if record.run_id in seen or not _tells(record):
                continue
            key = kind(serialize.from_flat(record.config))
        except (RunError, UsageError, OSError, ValueError, TypeError):
            continue  # a damaged record, or one of a component that is not loaded, tells nothing
        seen.add(record.run_id)
        found.setdefault(key, []).append(record)
    return found


def _tells(record: Record) -> bool:
    cost, epochs = record.cost, record.progress.get("epochs")
    times = all(isinstance(cost.get(key), (int, float)) for key in ("seconds", "train_seconds"))
    alone = record.status == "finished" and record.parent is None  # a parent's epochs are no part of its seconds
    return alone and times and isinstance(epochs, int) and epochs > 0
