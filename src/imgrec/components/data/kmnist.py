"""Define data=kmnist."""

from typing import ClassVar

from imgrec.components.idx import IdxData
from imgrec.config.fields import setting
from imgrec.config.registry import register


@register("data", "kmnist")
class Kmnist(IdxData):
    """Kuzushiji-MNIST (Clanuwat et al. 2018): 60 000 training and 10 000 test images of Japanese script, 10 classes."""

    classes: ClassVar[tuple[str, ...]] = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    class_sizes: ClassVar[list[int]] = [6000] * 10

    val_size: int = setting(
        5000, "training images kept for validation, stratified; 0: train on all, no `best`", at_least=0
    )
