"""Define launcher=basic."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.launcher import Launcher
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.sweeps.watch import Launcher as Runner


@register("launcher", "basic")
class Basic(Launcher):
    """One run of a sweep after the other, in one process: imports and images are paid for once.

    Each distributed run (trainer.devices > 1) has a process of its own.
    """

    in_process: ClassVar[bool] = True

    def build(self) -> "Runner":
        """See `sweep.basic`."""
        from imgrec.sweeps.basic import Basic

        return Basic()
