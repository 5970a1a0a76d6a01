"""Define the callback axis: Lightning callbacks that a run adds before imgrec's own callbacks."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Listed

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as LightningCallback


@dataclass(kw_only=True)
class Callback(Listed):
    """A callback of Lightning's kind. Each checkpoint stores its `state_dict`, and a resumed run restores it.

    Attributes:
        observes: True if the callback changes no result. It is then no part of the run's identity; otherwise its name
            and settings are.
    """

    axis: ClassVar[str] = "callback"
    observes: ClassVar[bool] = False

    def check_images(self, training: int) -> None:
        """Refuse settings that these training images are too few for, before the run's folder is made.

        Args:
            training: The number of training images.

        Raises:
            UsageError: They are too few.
        """

    @abstractmethod
    def build(self) -> "LightningCallback":
        """Return the callback. Its state may contain plain containers, numbers, texts and tensors only."""
