"""Define model=resnet110."""

from typing import ClassVar

from imgrec.components.model.cifar_resnet import CifarResnet
from imgrec.config.registry import register


@register("model", "resnet110")
class Resnet110(CifarResnet):
    """ResNet-110 for CIFAR-10 (He et al. 2016, section 4.2), shortcuts without parameters; 1.7 million parameters."""

    depth: ClassVar[int] = 110
