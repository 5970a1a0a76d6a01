"""Define the base class of the choices with a residual network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgrec.components.model.residual import Residual
from imgrec.config.fields import setting
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


STEMS = ("cifar", "imagenet")


@dataclass(kw_only=True)
class Resnet(Residual):
    """torchvision's residual networks (He et al. 2016)."""

    stem: str = setting(
        "cifar",
        "cifar: 3x3, stride 1, no max-pool, for small images; imagenet: 7x7, stride 2, max-pool",
        among=STEMS,
    )
    pretrained: bool = setting(False, "start from torchvision's ImageNet weights (downloaded); needs stem=imagenet")
    freeze_backbone: bool = setting(False, "older name of freeze=backbone: train the last layer only")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pretrained and self.stem != "imagenet":
            raise UsageError(
                f"model.pretrained=true needs model.stem=imagenet (the weights have a 7x7 stem), got {self.stem!r}"
            )

        if self.drop_path and self.freeze_backbone:
            raise UsageError(
                f"model.drop_path={self.drop_path:g} leaves out blocks that train, and model.freeze_backbone=true"
                " trains none; leave one of the two out"
            )
        if self.freeze_backbone and self.freeze != "none":
            raise UsageError(
                f"model.freeze_backbone=true and model.freeze={self.freeze} both say what is frozen; leave"
                " model.freeze_backbone out"
            )

    @property
    def is_pretrained(self) -> bool:
        return self.pretrained

    @property
    def smallest(self) -> int:
        return 8 if self.stem == "cifar" else 32  # leaves one pixel after all halvings

    def published(self) -> str | None:
        """See `models.pretrained.name_if_new`."""
        if not self.pretrained:
            return None
        from imgrec.models.pretrained import name_if_new

        return name_if_new(self.name)

    def check_beginning(self) -> None:
        """Refuse to train only the last layer on features that are random and frozen.

        This is no check of the configuration itself, as runs of older versions must stay readable.
        """
        if self.freeze_backbone and not self.pretrained:
            raise UsageError(
                "model.freeze_backbone=true needs a backbone that has learned something, and this one would begin and"
                " stay random; give model.pretrained=true model.stem=imagenet, or leave model.freeze_backbone out"
            )

    def normalisation(self, mean: Sequence[float], std: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        """Return ImageNet's constants with pretrained weights, else those of the data."""
        if not self.pretrained:
            return mean, std
        from imgrec.models.pretrained import IMAGENET_MEAN, IMAGENET_STD

        return IMAGENET_MEAN, IMAGENET_STD

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.resnet.Resnet`."""
        from imgrec.models.resnet import Resnet

        return Resnet(
            architecture=self.name,
            stem=self.stem,
            pretrained=self.pretrained,
            freeze_backbone=self.freeze_backbone,
            drop_path=self.drop_path,
            num_classes=num_classes,
            channels=channels,
            fetch=fetch,
        )
