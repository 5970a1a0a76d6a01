"""Define data=fashion_mnist."""

from typing import ClassVar

from imgrec.components.idx import IdxData
from imgrec.config.fields import setting
from imgrec.config.registry import register


@register("data", "fashion_mnist")
class FashionMnist(IdxData):
    """Fashion-MNIST (Xiao et al. 2017): 60 000 training and 10 000 test images of clothes, grey, 10 classes."""

    classes: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    class_sizes: ClassVar[list[int]] = [6000] * 10

    val_size: int = setting(
        5000, "training images kept for validation, stratified; 0: train on all, no `best`", at_least=0
    )
