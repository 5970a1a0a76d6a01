"""Define data=mnist."""

from typing import ClassVar

from imgrec.components.idx import IdxData
from imgrec.config.fields import setting
from imgrec.config.registry import register


@register("data", "mnist")
class Mnist(IdxData):
    """MNIST (LeCun et al. 1998): 60 000 training and 10 000 test images of handwritten digits, grey, 10 classes."""

    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    class_sizes: ClassVar[list[int]] = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]

    val_size: int = setting(
        5000, "training images kept for validation, stratified; 0: train on all, no `best`", at_least=0
    )
