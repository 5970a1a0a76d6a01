"""Define the base class of the choices with the architectures of a library."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import MISSING

from imgrec.config.fields import setting
from imgrec.config.model import Model
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from imgrec.models.architecture import Architecture

STEMS = ("auto", "small", "published")


@dataclass(kw_only=True)
class Library(Model):
    """The architectures of a library, under the library's names.

    A small stem has a first convolution of 3x3 with stride 1, and no pooling after it. Architectures with patches, and
    those whose first convolution has stride 1 already, have their published stem only.
    """

    architecture: str = setting(MISSING, "the library's name of the architecture")
    stem: str = setting(
        "auto",
        "small: a 3x3 first convolution with stride 1, no first pool; published: the library's; auto: small where the"
        " architecture has a stem to make smaller and is not pretrained",
        among=STEMS,
    )
    pretrained: bool = setting(False, "start from the library's weights (downloaded), all but the last layer")
    dropout: float | None = setting(
        None, "probability of dropping a value; null: the architecture's own", at_least=0, below=1
    )
    drop_path: float | None = setting(
        None,
        "probability of leaving out the last block, falling linearly to the first; null: the architecture's own",
        at_least=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pretrained and self.stem == "small":
            raise UsageError(
                "model.pretrained=true needs the stem that the weights were trained with, got model.stem='small'; leave"
                " model.stem out"
            )

    @property
    @abstractmethod
    def _built_as(self) -> "Architecture":
        """The architecture with these settings; imports the library."""

    @property
    def is_pretrained(self) -> bool:
        return self.pretrained

    def layers(self, net: "nn.Module") -> Mapping[str, int]:
        """Return the depth of each tensor, where the library says it."""
        return self._built_as.layers(net)

    def published(self) -> str | None:
        """Return the library's name of the weights, if the architecture does not say it."""
        return self._built_as.published() if self.pretrained else None

    def check_beginning(self) -> None:
        """Refuse weights whose name the library may give to others."""
        if self.pretrained:
            self._built_as.check_weights()

    def head(self, net: "nn.Module") -> tuple[str, ...]:
        """Return the names of the layers that give the classes, as the library names them."""
        return self._built_as.head(net)

    @property
    def smallest(self) -> int | None:
        return self._built_as.smallest()

    def check_images(self, side: int, *, resizable: bool) -> None:
        """Refuse an unknown architecture, settings that it does not have, and images that do not fit it."""
        architecture = self._built_as
        architecture.check()
        architecture.check_side(side, resizable=resizable)

    def normalisation(self, mean: Sequence[float], std: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        """Return the constants of the pretrained weights' own transforms, else those of the data."""
        return self._built_as.normalisation() if self.pretrained else (mean, std)

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.architecture.Architecture.build`."""
        return self._built_as.build(num_classes=num_classes, image_size=image_size, channels=channels, fetch=fetch)
