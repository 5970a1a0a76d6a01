"""Define loss=distillation."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import MISSING

from imgrec import records
from imgrec.config.fields import setting
from imgrec.config.loss import Loss
from imgrec.config.registry import register
from imgrec.errors import UsageError, shown

if TYPE_CHECKING:
    from imgrec.losses import DistilledLoss, LossFunction

_DIGITS = 16  # hexadecimal digits of a digest


@register("loss", "distillation")
class Distillation(Loss):
    """Cross-entropy, and the divergence from the softened outputs of a trained network (Hinton et al. 2015)."""

    teacher: str = setting(MISSING, "the folder of the finished run whose network teaches", identity=False)
    teacher_digest: str = setting("", "digits of the SHA-256 of the teacher's weights; imgrec fills them in")
    temperature: float = setting(4.0, "divides the logits of both networks (Tian et al. 2020, CRD: 4)", above=0)
    teacher_share: float = setting(
        0.9,
        "weight of the teacher's part, where cross-entropy with the targets has the rest (Tian et al. 2020, CRD: 0.9)",
        at_least=0,
        at_most=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.teacher.strip():
            raise UsageError("loss.teacher must be the folder of a finished run, got ''; add loss.teacher=RUN")
        if not self.teacher_digest:  # a record has it
            self.teacher_digest = self._digest()
            self.teacher = str(Path(self.teacher).expanduser().absolute())  # as the run may go on from another folder

    def _digest(self) -> str:
        folder = Path(self.teacher).expanduser()
        path = folder / "record.json"
        record = records.read(path) if path.is_file() else None
        if record is None or record.status != "finished":
            found = "is none" if record is None else f"is {record.state}"
            raise UsageError(
                f"loss.teacher must be the folder of a finished run, and {shown(folder)} {found}; train it first, or"
                " name another"
            )
        return record.weights["best" if "best" in record.weights else "last"][:_DIGITS]

    @property
    def teacher_run(self) -> tuple[str, str] | None:
        return self.teacher, self.teacher_digest

    def build(self) -> "LossFunction":
        """Return cross-entropy, which measures validation and test images."""
        from imgrec import losses

        return losses.cross_entropy

    def build_distilled(self) -> "DistilledLoss":
        """See `losses.distilled`."""
        from imgrec import losses

        return partial(losses.distilled, temperature=self.temperature, teacher_share=self.teacher_share)
