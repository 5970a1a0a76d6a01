"""Define model=resnet20."""

from typing import ClassVar

from imgrec.components.model.cifar_resnet import CifarResnet
from imgrec.config.registry import register


@register("model", "resnet20")
class Resnet20(CifarResnet):
    """ResNet-20 for CIFAR-10 (He et al. 2016, section 4.2), shortcuts without parameters; 0.27 million parameters."""

    depth: ClassVar[int] = 20
