"""The launcher axis: how the runs of a sweep are carried out. No part of what a run is."""

from dataclasses import dataclass

from omegaconf import MISSING

from imgrec.config.fields import setting, within


@dataclass(kw_only=True)
class Launcher:
    """What every launcher has."""

    name: str = MISSING


@dataclass(kw_only=True)
class Basic(Launcher):
    """One run after the other in this process: imports and images are paid for once."""

    name: str = "basic"


@dataclass(kw_only=True)
class Pool(Launcher):
    """Several runs at a time, each in a process of its own, with GPUs or a share of the cores of its own."""

    name: str = "pool"
    processes: int = setting(
        0,
        "runs at a time; 0: as many as have trainer.devices GPUs each, without a GPU as many as have so many cores",
        identity=False,
    )

    def __post_init__(self) -> None:
        within("launcher.processes", self.processes, 0, 1024, "0 takes the number from the machine")
