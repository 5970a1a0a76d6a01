"""Define model=torchvision."""

from typing import TYPE_CHECKING

from imgrec.components.model.library import Library
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.models.architecture import Architecture


@register("model", "torchvision")
class Torchvision(Library):
    """Any classifier of torchvision, such as model.architecture=convnext_tiny, with a stem for small images."""

    @property
    def _built_as(self) -> "Architecture":
        from imgrec.models.from_torchvision import TorchvisionArchitecture

        return TorchvisionArchitecture(
            name=self.architecture,
            stem=self.stem,
            pretrained=self.pretrained,
            dropout=self.dropout,
            drop_path=self.drop_path,
        )
