"""Define logger=wandb."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.logger import Logger
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger

MODES = ("offline", "online", "disabled")


@register("logger", "wandb")
class Wandb(Logger):
    """A run of Weights & Biases, kept for `wandb sync` or sent at once (mode=online); install the extra "wandb"."""

    leaves_folder: ClassVar[bool] = True
    package: ClassVar[str | None] = "wandb"
    extra: ClassVar[str] = "wandb"

    mode: str = setting(
        "offline",
        "offline: files in the run's folder, which wandb sync sends; online: sent while it trains; disabled: nothing",
        identity=False,
        among=MODES,
    )
    project: str | None = setting(None, "project; null: $WANDB_PROJECT, else imgrec", identity=False)
    entity: str | None = setting(None, "user or team of the project; null: the account's own", identity=False)
    group: str | None = setting(None, "group of the run; null: the name of the folder of the runs", identity=False)
    tags: list[str] = setting(list, "tags of the run", identity=False)

    def check_here(self) -> None:
        """See `Logger`. Sending needs a key, which wandb would else ask for in the middle."""
        super().check_here()
        if self.mode == "online":
            import wandb

            if not wandb.login(prompt=False, verify=False):
                raise UsageError(
                    "logger.wandb.mode=online needs a key of Weights & Biases, and there is none; call wandb login, or"
                    " give logger.wandb.mode=offline"
                )

    def build(self, folder: Path, *, run_id: str, step: int) -> "LightningLogger":
        """See `training.wandb`."""
        if self.mode != "online":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # wandb would send errors of its own
        from imgrec.training.wandb import WandbRun

        return WandbRun(
            folder,
            run_id=run_id,
            mode=self.mode,
            project=self.project or os.environ.get("WANDB_PROJECT") or "imgrec",
            entity=self.entity,
            group=self.group or folder.resolve().parent.name,
            tags=list(self.tags),
        )
