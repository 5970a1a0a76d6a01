"""Define the augment axis: the transformations of a training image before the network gets it.

The axis has one dataclass. The choices in conf/augment are named combinations of its keys. Any key can be added to any
choice.
"""

from typing import ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import above, at_least, below, setting
from imgrec.config.registry import register
from imgrec.errors import UsageError

POLICIES = ("none", "trivialaugment", "randaugment", "augmix")
MIXES = ("none", "mixup", "cutmix", "mixup_cutmix")
BORDERS = ("black", "reflect")
FLIP_RULES = ("random", "alternating")


@register("augment", "augment")
class Augment(Component):
    """In this order: policy, crop, flip, contrast, brightness, cutout, erasing, mix, size; drawn for each image."""

    axis: ClassVar[str] = "augment"
    is_choice: ClassVar[bool] = False
    policy: str = setting(
        "none", f"photometric and geometric policy, image by image: {', '.join(POLICIES)}", among=POLICIES
    )
    policy_ops: int = setting(
        2, "operations in a row of randaugment: N of Cubuk et al. 2020; torchvision's default", at_least=1
    )
    policy_magnitude: int = setting(
        9,
        "strength of randaugment, 0 to 30: 3 times M of Cubuk et al. 2020; torchvision's default",
        at_least=0,
        at_most=30,
    )
    crop_padding: int = setting(
        0, "pad by this many pixels, then crop at random; 0: off (He et al. 2016: 4)", at_least=0
    )
    crop_border: str = setting("black", f"what the padding shows: {', '.join(BORDERS)}", among=BORDERS)
    flip: bool = setting(False, "mirror left to right: each image with probability 1/2, or by flip_rule")
    flip_rule: str = setting(
        "random",
        "random: drawn anew in each epoch; alternating: drawn in the first, then mirrored in every other epoch",
        among=FLIP_RULES,
    )
    brightness: float = setting(
        0.0, "make an image lighter or darker, by up to this share of the range; 0: off", at_least=0, at_most=1
    )
    contrast: float = setting(
        0.0, "stretch an image around mid-grey, or squeeze it, by up to this share; 0: off", at_least=0, at_most=1
    )
    cutout_size: int = setting(
        0, "side of a square set to mid-grey; 0: off (DeVries & Taylor 2017: 16, of the mean)", at_least=0
    )
    erase_probability: float = setting(
        0.0,
        "probability that a rectangle of 2 to 40 % of the image, at most 10:3 long, is set to mid-grey (Zhong et al."
        " 2020: 0.5, of the mean or of noise)",
        at_least=0,
        at_most=1,
    )
    mix: str = setting("none", f"blend two images and their targets: {', '.join(MIXES)}", among=MIXES)
    mix_alpha: float = setting(1.0, "the blend's share is drawn from Beta(alpha, alpha)", above=0)
    mix_probability: float = setting(
        1.0,
        "probability that an image is blended; below 1 the others stay as they are",
        above=0,
        way_out="augment.mix=none blends no image",
        at_most=1,
    )
    cutmix_alpha: float = setting(
        1.0, "as mix_alpha, for the images that mixup_cutmix pastes into (Yun et al. 2019: 1)", above=0
    )
    mix_switch: float = setting(
        0.5, "probability that mixup_cutmix pastes a box, and does not blend; timm's default", above=0, below=1
    )
    sizes: list[int] = setting(list, "sides that training images are shrunk to at first, stage by stage, in pixels")
    sizes_until: list[float] = setting(
        list, "where each of augment.sizes ends, as a share of all steps; then full size"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_sizes()
        if self.policy != "randaugment":
            self._refuse_idle("policy_ops", 2, "augment.policy=randaugment")
            self._refuse_idle("policy_magnitude", 9, "augment.policy=randaugment")
        if not self.crop_padding:
            self._refuse_idle("crop_border", "black", "augment.crop_padding")
        if not self.flip:
            self._refuse_idle("flip_rule", "random", "augment.flip=true")
        if self.mix == "none":
            self._refuse_idle("mix_alpha", 1.0, "augment.mix=mixup or cutmix")
            self._refuse_idle("mix_probability", 1.0, "augment.mix=mixup or cutmix")
        if self.mix != "mixup_cutmix":
            self._refuse_idle("cutmix_alpha", 1.0, "augment.mix=mixup_cutmix")
            self._refuse_idle("mix_switch", 0.5, "augment.mix=mixup_cutmix")

    def _check_sizes(self) -> None:
        if len(self.sizes) != len(self.sizes_until):
            raise UsageError(
                "augment.sizes_until must say for each of augment.sizes where it ends,"
                f" got {list(self.sizes_until)} for {list(self.sizes)}"
            )
        for side in self.sizes:
            at_least("augment.sizes", side, 1)
        for end in self.sizes_until:
            above("augment.sizes_until", end, 0)
            below("augment.sizes_until", end, 0, 1, "the last steps are at full size")
        for key, values in (("sizes", self.sizes), ("sizes_until", self.sizes_until)):
            if sorted(set(values)) != list(values):
                raise UsageError(f"augment.{key} must ascend from stage to stage, got {list(values)}")

    def _refuse_idle(self, key: str, default: float | str, needs: str) -> None:
        """Refuse a value of a key that has no effect in this configuration."""
        if getattr(self, key) != default:
            raise UsageError(f"augment.{key}={getattr(self, key)} has no effect without {needs}; add that, or drop it")
