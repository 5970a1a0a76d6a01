"""Define logger=tensorboard."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.logger import Logger
from imgrec.config.registry import register

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger


@register("logger", "tensorboard")
class TensorBoard(Logger):
    """TensorBoard's event files, with figures and a row of the HPARAMS page."""

    draws_graphs: ClassVar[bool] = True

    def build(self, folder: Path, *, run_id: str, step: int) -> "LightningLogger":
        """See `training.tensorboard`."""
        from imgrec.runfolder import TENSORBOARD
        from imgrec.training import tensorboard

        return tensorboard.logger(folder / TENSORBOARD, step=step)
