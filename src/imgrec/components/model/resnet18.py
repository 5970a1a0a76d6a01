"""Define model=resnet18."""

from imgrec.components.model.resnet import Resnet
from imgrec.config.registry import register


@register("model", "resnet18")
class Resnet18(Resnet):
    """torchvision's ResNet-18 (He et al. 2016) with a stem for small images; 11.2 million parameters at 10 classes."""
