"""Components that a configuration selects by name, one per file. Their modules import torch only in `build`.

A component from outside of imgrec derives from one of these classes, declares its settings, and registers itself:

    from imgrec.components import Loss, register, setting
"""

from imgrec.config.callback import Callback
from imgrec.config.data import Data
from imgrec.config.fields import setting
from imgrec.config.launcher import Launcher
from imgrec.config.logger import Logger, RunLogger
from imgrec.config.loss import Loss
from imgrec.config.model import Model
from imgrec.config.optimizer import Optimizer
from imgrec.config.protocol import Protocol
from imgrec.config.registry import register
from imgrec.config.schedule import Schedule

__all__ = [
    "Callback",
    "Data",
    "Launcher",
    "Logger",
    "Loss",
    "Model",
    "Optimizer",
    "Protocol",
    "RunLogger",
    "Schedule",
    "register",
    "setting",
]
