"""Define logger=csv."""

from pathlib import Path
from typing import TYPE_CHECKING

from imgrec.config.logger import Logger
from imgrec.config.registry import register

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger


@register("logger", "csv")
class Csv(Logger):
    """Lightning's table, csv/metrics.csv: a column for each name, a row for each time that something was logged."""

    def build(self, folder: Path, *, run_id: str, step: int) -> "LightningLogger":
        """See `training.csv_table`."""
        from imgrec.runfolder import CSV
        from imgrec.training.csv_table import Table

        return Table(folder / CSV, step=step)
