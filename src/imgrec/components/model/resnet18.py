"""model=resnet18."""

from imgrec.components.model.resnet import Resnet
from imgrec.config.registry import register


@register("model", "resnet18")
class Resnet18(Resnet):
    """ResNet-18: basic blocks, 11.2 million parameters at 10 classes."""
