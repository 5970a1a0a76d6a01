"""The logger axis: where a run's numbers go beside curves.csv, which every run writes. No part of what a run is."""

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
        """Make the logger of a run.

        Args:
            folder: The run's folder, whose last part is the run's name.
            run_id: The run's id, 64 hexadecimal digits.
            step: The step that the run goes on from; later entries of an earlier process are void. 0 for a new run.
        """
