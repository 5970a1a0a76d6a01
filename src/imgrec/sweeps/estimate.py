"""Say what a sweep costs before it runs: runs, images, FLOPs, time, energy, money and CO2. Nothing is written.

The seconds of a run come from finished runs of its kind, else from a short measurement. docs/cost.md has the formula.
"""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imgrec import gpus
from imgrec.config.root import Config
from imgrec.errors import shown
from imgrec.sweeps import like_runs, rehearsals
from imgrec.sweeps.jobs import SweepJob, each_once, state
from imgrec.sweeps.like_runs import Known, LikeRuns, Machine, Seconds
from imgrec.sweeps.pool import Pool
from imgrec.sweeps.rehearsals import Measured
from imgrec.sweeps.shares import Share, whole
from imgrec.sweeps.strategy import Forecast
from imgrec.sweeps.watch import Launcher

# seconds, as experiments/sweeps/cost.py has measured them on two cores of an AMD EPYC (docs/cost.md)
_START = 10.0  # of a process that imports the libraries
_AROUND = 0.6  # of a run besides the seconds in its record, in a process that has carried out another
_AROUND_FIRST = 2.3  # the same in a new process

_WATTS = 12.0  # of a core in use: Green Algorithms' value for any CPU
_TRAINING = 3  # FLOPs of forward and backward pass, divided by those of the forward pass
_HOUR = 3600.0


@dataclass(kw_only=True)
class _Kind:
    """Runs that take equally long, epochs aside.

    Attributes:
        example: One of them.
        machine: What computes them; None where that is another machine.
        source: What tells their seconds; None where nothing does.
    """

    example: SweepJob
    machine: Machine | None
    source: LikeRuns | Measured | None = None
    runs: int = 0


def told(forecast: Forecast, config: Config, launcher: Launcher, known: Known) -> str:
    """Return the estimate, in lines of text.

    Args:
        forecast: The runs of the sweep.
        config: The configuration of one of them; its settings of sweep and launcher hold for all.
        launcher: What carries them out.
        known: The finished runs that tell what such runs take.

    Raises:
        RunError: A run that is measured fails.
    """
    counts, phases = _left(forecast, retry=config.sweep.retry_failed)
    lines = [_counted(counts)]
    left = [job for phase in phases for job in phase]
    if not left:
        return f"{lines[0]}; nothing is left to do"
    estimate = _Estimate(config, launcher, known, phases)
    return "\n".join([*lines, *estimate.lines(), *_unknown(forecast, estimate, counts)])


def _left(forecast: Forecast, *, retry: bool) -> tuple[Counter[str], list[list[SweepJob]]]:
    """Return how many runs are in which state, and those that are to do, by phases."""
    counts, phases = Counter(finished=forecast.finished), []
    seen = set[str]()
    for ahead in forecast.phases:
        todo = []
        for job in each_once(ahead.runs):
            if job.run_id in seen:
                continue
            seen.add(job.run_id)
            found = state(job, until=time.monotonic())
            counts["to retry" if found == "failed" and retry else found] += 1
            if found in ("to do", "to resume") or (found == "failed" and retry):
                todo.append(job)
        counts["to do"] += len(ahead.like)
        phases.append([*todo, *ahead.like])
    return counts, phases


def _counted(counts: Counter[str]) -> str:
    states = ("finished", "failed", "to resume", "to retry", "to do")
    parts = [f"{counts[each]} {each}" for each in states if counts[each]]
    total = counts.total()
    return f"{total} run{'s' * (total != 1)}: {', '.join(parts)}"


class _Estimate:
    """The runs that are left, with what they take.

    Raises:
        RunError: A run that is measured fails.
    """

    def __init__(self, config: Config, launcher: Launcher, known: Known, phases: Sequence[Sequence[SweepJob]]) -> None:
        self._config, self._phases = config, phases
        configs = [job.config for phase in phases for job in phase]
        self._parts = launcher.shares(configs) if isinstance(launcher, Pool) else [whole(config)]
        self._at_a_time = launcher.at_a_time(configs)
        # True if each run begins in a new process
        self._anew = not config.launcher.in_process and getattr(config.launcher, "per_gpu", 0) == 0
        self.kinds: dict[str, _Kind] = {}
        for phase in phases:
            for job in phase:
                key = like_runs.kind(job.config)
                if key not in self.kinds:
                    self.kinds[key] = self._kind(job, known)
                self.kinds[key].runs += 1

    def _kind(self, job: SweepJob, known: Known) -> _Kind:
        machine = None if self._config.launcher.elsewhere else _machine(job.config, self._parts[0])
        seen = [job.fingerprint, *([job.seen.older.fingerprint] if job.seen.older is not None else [])]
        source: LikeRuns | Measured | None = known.like(job.config, seen, machine)
        if source is None and job.config.trainer.processes == 1:
            source = rehearsals.measure(job, self._parts)
        return _Kind(example=job, machine=machine, source=source)

    def of(self, job: SweepJob) -> _Kind:
        return self.kinds[like_runs.kind(job.config)]

    @property
    def elsewhere(self) -> bool:
        return self._config.launcher.elsewhere

    def _on_gpu(self) -> bool:
        return _on_gpu(self._config)

    def _seconds(self, job: SweepJob, *, first: bool) -> Seconds:
        """Return the seconds of a run, low, usual and high; 0 where nothing tells them."""
        source, epochs = self.of(job).source, job.config.trainer.max_epochs
        if source is None:
            return 0.0, 0.0, 0.0
        if isinstance(source, Measured):
            found, around = source.seconds(epochs, first=first), source.process if self._anew else 0.0
        else:
            found, around = source.seconds(epochs), _AROUND_FIRST if first else _AROUND
        if self.elsewhere:
            around += _START
        low, usual, high = (each + around for each in found)
        return low, usual, high

    def _each(self) -> Iterator[list[tuple[SweepJob, Seconds]]]:
        """Yield the runs of each phase with their seconds."""
        begun = 0
        for phase in self._phases:
            rows = []
            for job in phase:
                rows.append((job, self._seconds(job, first=self._anew or begun < self._at_a_time)))
                begun += 1
            yield rows

    def lines(self) -> list[str]:
        """Return a line for each figure."""
        rows = list(self._each())
        runs = [row for phase in rows for row in phase]
        start = max((each.source.start for each in self.kinds.values() if isinstance(each.source, Measured)), default=0)
        wall = [max(_START, start)] * 3
        for phase in rows:
            for place in range(3):
                wall[place] += _makespan([seconds[place] for _, seconds in phase], self._at_a_time)
        device = [sum(seconds[place] * self._devices(job) for job, seconds in runs) / _HOUR for place in range(3)]
        name = "GPU" if self._on_gpu() else "core"
        sweep, launcher = self._config.sweep, self._config.launcher.name
        at_a_time = f"{self._at_a_time} run{'s' * (self._at_a_time > 1)} at a time"
        found = [*self._work(runs), *self._kind_lines()]
        if not any(self.kinds[key].source for key in self.kinds):
            return found
        found.append(_line("wall time", wall, _time, f"launcher={launcher}, {at_a_time}"))
        found.append(_line(f"{name} hours", device, _number, f"seconds of a run x {name}s in use"))
        if sweep.price is not None:
            found.append(_line("money", [sweep.price * each for each in device], _number, "sweep.price x hours"))
        watts = sweep.watts if sweep.watts is not None else None if self._on_gpu() else _WATTS
        if watts is not None:
            energy = [watts * each / 1000 for each in device]
            said = "sweep.watts" if sweep.watts is not None else "Green Algorithms' value of any CPU; sweep.watts"
            found.append(_line("energy", energy, lambda each: f"{_number(each)} kWh", f"{watts:g} W a {name}: {said}"))
            carbon = [sweep.carbon * each for each in energy]
            said = f"{sweep.carbon:g} kg a kWh: sweep.carbon, by default the world's mean of 2023, Ember"
            found.append(_line("CO2", carbon, lambda each: f"{_number(each)} kg", said))
        return found

    def _devices(self, job: SweepJob) -> float:
        """Return the number of cores, or of GPUs, that the run uses."""
        trainer, kind = job.config.trainer, self.of(job)
        if self._on_gpu():
            return trainer.processes / (kind.machine.shared if kind.machine is not None else 1)
        threads = kind.machine.threads if kind.machine is not None else trainer.threads
        if not threads and isinstance(kind.source, LikeRuns):
            threads = int(kind.source.found[-1].environment.get("threads") or 1)
        return (threads or self._parts[0].threads) * trainer.processes

    def _work(self, runs: Sequence[tuple[SweepJob, Seconds]]) -> list[str]:
        """Return the lines of images and FLOPs, as far as they are known."""
        images = flops = 0.0
        for job, _ in runs:
            source = self.of(job).source
            each, forward = (source.images, source.flops_per_image) if source is not None else (None, None)
            if each is None or forward is None:
                return []
            seen = job.config.trainer.max_epochs * each
            images, flops = images + seen, flops + _TRAINING * forward * seen
        return [
            f"{'images':<12}{images:.4g} in training, with repetitions",
            f"{'FLOPs':<12}{flops:.3g}  ({_TRAINING} x the forward pass of each; validation and reading not counted)",
        ]

    def _kind_lines(self) -> list[str]:
        """Return for each kind what a run takes, and where that is known from."""
        lines = []
        for kind in self.kinds.values():
            job, source = kind.example, kind.source
            if source is None:
                said = "not in these figures: a distributed run is not measured, and none like it has finished here"
                lines.append(f"{'a run':<12}unknown: {kind.runs} such as {job.name} are {said}")
                continue
            if isinstance(source, LikeRuns):
                count = len(source.found)
                said = f"{count} finished run{'s' * (count > 1)} like it in {shown(source.place)}"
            else:
                steps = sum(each.steps for each in source.times)
                beside = f", {len(source.times)} at a time" if len(source.times) > 1 else ""
                said = f"measured on this machine: {steps} steps{beside}"
            epochs = job.config.trainer.max_epochs
            seconds = self._seconds(job, first=self._anew)
            like = f"{kind.runs} such as {job.name}, {epochs} epoch{'s' * (epochs > 1)}; {said}"
            lines.append(_line("a run", list(seconds), _time, like))
        return lines


def _machine(config: Config, share: Share) -> Machine:
    if _on_gpu(config):
        threads = config.trainer.threads or share.threads
        return Machine(device=gpus.found().names[0], threads=threads, shared=share.shared)
    import torch

    from imgrec.environment import name_of  # imports torch

    return Machine(device=name_of(torch.device("cpu")), threads=config.trainer.threads or share.threads)


def _on_gpu(config: Config) -> bool:
    """Return True if a run of this configuration computes on GPUs, as far as this machine tells."""
    asked = config.trainer.accelerator
    return asked == "gpu" or (asked == "auto" and bool(gpus.found().names))


def _makespan(seconds: Sequence[float], at_a_time: int) -> float:
    """Return how long runs take in this order, if the next one begins when one of so many has ended."""
    ends = [0.0] * max(1, min(at_a_time, len(seconds)))
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def _unknown(forecast: Forecast, estimate: _Estimate, counts: Counter[str]) -> list[str]:
    """Return sentences on what the estimate does not know."""
    config = next(iter(estimate.kinds.values())).example.config
    said = list(forecast.unknown)
    if config.trainer.early_stopping:
        said.append("trainer.early_stopping may end runs early, which count as whole")
    if any(kind.example.config.model.freeze != "none" for kind in estimate.kinds.values()):
        said.append(
            "what frozen layers save: FLOPs count their backward pass, and measured runs with model.unfreeze_at count"
            " each epoch as one in which all layers train"
        )
    if counts["to resume"]:
        said.append("runs to resume count as whole")
    if any(isinstance(kind.source, Measured) for kind in estimate.kinds.values()):
        said.append("a machine that was busier or idler than it will be: what was measured is that of this moment")
    if estimate.elsewhere:
        said.append("the other machines' speed, unless their runs are known, and the time in a queue")
    if _on_gpu(config) and config.sweep.watts is None:
        said.append("energy and CO2 of a GPU; give sweep.watts")
    said.append("memory, cooling and idle cores: energy is that of devices in use")
    return ["not known:", *(f"- {each}" for each in said)]


def _line(name: str, values: Sequence[float], told: Callable[[float], str], source: str) -> str:
    low, usual, high = values
    ends = f" [{told(low)}, {told(high)}]" if told(low) != told(usual) or told(high) != told(usual) else ""
    return f"{name:<12}{told(usual)}{ends}  ({source})"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"


def _number(value: float) -> str:
    return f"{value:.3g}"
