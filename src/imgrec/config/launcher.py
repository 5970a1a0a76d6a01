"""The launcher axis: how the runs of a sweep are carried out. No part of what a run is."""

from dataclasses import dataclass
from typing import ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import setting
from imgrec.config.registry import register


@dataclass(kw_only=True)
class Launcher(Component):
    """What every launcher has."""

    axis: ClassVar[str] = "launcher"


@register("launcher", "basic")
class Basic(Launcher):
    """One run after the other in this process: imports and images are paid for once."""


@register("launcher", "pool")
class Pool(Launcher):
    """Several runs at a time, each in a process of its own, with GPUs or a share of the cores of its own."""

    processes: int = setting(
        0,
        "runs at a time; 0: as many as have trainer.devices GPUs each, without a GPU as many as have so many cores",
        identity=False,
        at_least=0,
        at_most=1024,
        way_out="0 takes the number from the machine",
    )
