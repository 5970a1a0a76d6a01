"""Define logger=mlflow."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from imgrec.config.fields import setting
from imgrec.config.logger import Logger
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger

_VARIABLE = "MLFLOW_TRACKING_URI"


@register("logger", "mlflow")
class Mlflow(Logger):
    """A run of MLflow, in a database beside the runs or on a server; install the extra "mlflow"."""

    leaves_folder: ClassVar[bool] = True
    package: ClassVar[str | None] = "mlflow"
    extra: ClassVar[str] = "mlflow"

    tracking_uri: str | None = setting(
        None,
        f"where runs are kept, such as http://host:5000; null: ${_VARIABLE}, else mlflow.db in the folder of the runs",
        identity=False,
    )
    experiment_name: str | None = setting(
        None, "MLflow's experiment; null: the name of the folder of the runs", identity=False
    )
    tags: list[str] = setting(list, "tags of the run, each as KEY:VALUE", identity=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for tag in self.tags:
            if not tag.partition(":")[0].strip() or ":" not in tag:
                raise UsageError(f"logger.mlflow.tags must hold KEY:VALUE, got {tag!r}; write {tag}:yes, say")
        if self.tracking_uri is not None and urlsplit(self.tracking_uri).password is not None:
            raise UsageError(
                "logger.mlflow.tracking_uri must hold no password, as records keep it; give the address by"
                f" {_VARIABLE}, or the password by MLFLOW_TRACKING_PASSWORD"
            )

    def build(self, folder: Path, *, run_id: str, step: int) -> "LightningLogger":
        """See `training.mlflow`."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before its import: nothing goes elsewhere unasked
        from imgrec.training.mlflow import MlflowRun

        runs = folder.resolve().parent
        uri = self.tracking_uri or os.environ.get(_VARIABLE)
        return MlflowRun(
            folder,
            run_id=run_id,
            uri=uri or f"sqlite:///{runs / 'mlflow.db'}",
            artifacts=None if uri else (runs / "mlflow_artifacts").as_uri(),
            experiment_name=self.experiment_name or runs.name,
            tags=dict(tag.split(":", 1) for tag in self.tags),
        )
