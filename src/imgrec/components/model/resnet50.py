"""model=resnet50."""

from imgrec.components.model.resnet import Resnet
from imgrec.config.registry import register


@register("model", "resnet50")
class Resnet50(Resnet):
    """ResNet-50: bottleneck blocks, 23.5 million parameters at 10 classes."""
