"""The callback axis: what is called beside the training loop, before imgrec's own callbacks."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Listed

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as LightningCallback


@dataclass(kw_only=True)
class Callback(Listed):
    """A callback of Lightning's kind. Its `state_dict` goes into each checkpoint, and comes back when a run goes on.

    Attributes:
        observes: True if it changes no result, so that a run with it is the same run. Otherwise its name and settings
            are part of the run's identity.
    """

    axis: ClassVar[str] = "callback"
    observes: ClassVar[bool] = False

    @abstractmethod
    def build(self) -> "LightningCallback":
        """Make the callback. Its state must be of plain containers, numbers, texts and tensors."""
