"""Define model=resnet56."""

from typing import ClassVar

from imgrec.components.model.cifar_resnet import CifarResnet
from imgrec.config.registry import register


@register("model", "resnet56")
class Resnet56(CifarResnet):
    """ResNet-56 for CIFAR-10 (He et al. 2016, section 4.2), shortcuts without parameters; 0.85 million parameters."""

    depth: ClassVar[int] = 56
