"""Define model=resnet50."""

from imgrec.components.model.resnet import Resnet
from imgrec.config.registry import register


@register("model", "resnet50")
class Resnet50(Resnet):
    """torchvision's ResNet-50 (He et al. 2016) with a stem for small images; 23.5 million parameters at 10 classes."""
