"""Divide the machine, its cores and GPUs, among the processes of a sweep."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from imgrec import gpus
from imgrec.config.root import Config
from imgrec.cores import THREADS, cores, cores_each
from imgrec.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of the machine that one process has.

    Attributes:
        threads: The number of CPU threads.
        gpus: The GPUs, as CUDA_VISIBLE_DEVICES names them; none for a run on the CPU, or with all that there are.
        shared: The number of processes at a time that have these GPUs.
    """

    threads: int
    gpus: tuple[str, ...] = ()
    shared: int = 1

    def overlaps(self, other: "Share") -> bool:
        """Return True if the two have a GPU in common, or are equal."""
        return self == other or not set(self.gpus).isdisjoint(other.gpus)

    def __str__(self) -> str:
        """Return the GPUs for a sentence."""
        return f"GPU{'s' * (len(self.gpus) > 1)} {', '.join(self.gpus)}" if self.gpus else "the GPUs of this machine"


def shares(configs: Sequence[Config], processes: int, per_gpu: int = 0) -> list[Share]:
    """Divide the machine among several processes.

    No process has more threads than a run without a pool (OMP_NUM_THREADS), so that a pool of one process computes the
    same sums.

    Args:
        configs: The configurations of the runs.
        processes: The number of processes at a time; 0 for as many as the GPUs, else the cores, allow.
        per_gpu: The most processes that have the same GPU; 0 for one, or for as many as `processes` asks for.

    Raises:
        RunError: The runs need more GPUs than there are.
    """
    import torch

    devices = max(config.trainer.devices for config in configs)
    given = [] if all(config.trainer.accelerator == "cpu" for config in configs) else gpus.handed_out()
    if given and (too_few := gpus.found().too_few(devices)):
        raise RunError(too_few)
    groups = (len(given) or cores()) // devices
    most = max(1, groups) * (max(1, per_gpu) if given else 1)
    count = min(processes or most, len(configs))
    if given and per_gpu:
        count = min(count, most)
    threads = min(torch.get_num_threads(), cores_each(count * devices))
    if not given:
        return [Share(threads=threads)] * count
    firsts = [number % groups * devices for number in range(count)]
    return [
        Share(threads=threads, gpus=tuple(given[first : first + devices]), shared=firsts.count(first))
        for first in firsts
    ]


def whole(config: Config) -> Share:
    """Return the share of a run that has the machine for itself, with the threads of a run without a pool."""
    import torch

    threads, devices = torch.get_num_threads(), config.trainer.devices
    if devices > 1 and THREADS not in os.environ:
        threads = cores_each(devices)  # as Lightning divides them among the processes of a run
    return Share(threads=threads)
