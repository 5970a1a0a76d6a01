"""Define model=timm."""

from typing import TYPE_CHECKING

from imgrec.components.model.library import Library
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.models.architecture import Architecture


@register("model", "timm")
class Timm(Library):
    """Any classifier of timm, such as model.architecture=resnet26d, with a small stem; install the extra "timm"."""

    @property
    def _built_as(self) -> "Architecture":
        from imgrec.models.from_timm import TimmArchitecture

        return TimmArchitecture(
            name=self.architecture,
            stem=self.stem,
            pretrained=self.pretrained,
            dropout=self.dropout,
            drop_path=self.drop_path,
        )
