"""Define the logger axis: destinations of a run's numbers besides curves.csv. It is no part of a run's identity."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Listed

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger


@dataclass(kw_only=True)
class Logger(Listed):
    """A logger of Lightning's kind."""

    axis: ClassVar[str] = "logger"

    @abstractmethod
    def build(self, folder: Path, *, run_id: str, step: int) -> "LightningLogger":
        """Return the logger of a run.

        Args:
            folder: The run's folder, whose last part is the run's name.
            run_id: The run's id, 64 hexadecimal digits.
            step: The step that the run continues from; 0 for a new run. Later entries of an earlier process are
                invalid.
        """
