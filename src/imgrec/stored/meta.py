"""Describe the network and the run of a checkpoint, in addition to what Lightning stores."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from imgrec import records, value_checks
from imgrec.errors import RunError
from imgrec.stored.tensors import dense

META = "imgrec"  # the key in the checkpoint

_MOST_SIDE = 2**14  # pixels
_MOST_CLASSES = 10**6


@dataclass(frozen=True, kw_only=True)
class Meta:
    """The description from which a network is rebuilt, and its run.

    Attributes:
        run_id: The run's id.
        config: The run's flat configuration: each key with its value.
        fingerprint: The fingerprint of the images.
        classes: The names of the classes, in the order of the logits.
        image_size: The side of an image, in pixels.
        channels: The channels of an image.
        mean: The network's normalisation: one mean per channel.
        std: The network's normalisation: one deviation per channel.
        components: The origins of the user's own components, as in `Record`.
        version: The version of imgrec.
    """

    run_id: str
    config: dict[str, Any]
    fingerprint: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    components: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return the values as a checkpoint stores them."""
        plain: dict[str, Any] = {
            "version": self.version,
            "run_id": self.run_id,
            "config": self.config,
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "image_size": self.image_size,
            "channels": self.channels,
            "mean": list(self.mean),
            "std": list(self.std),
        }
        return {**plain, "components": self.components} if self.components else plain

    @classmethod
    def of(cls, path: Path, checkpoint: Mapping[str, Any]) -> Self:
        """Return the description in a checkpoint.

        Args:
            path: The file, for the error message.
            checkpoint: Its contents.

        Raises:
            RunError: The checkpoint was not written by imgrec.
        """
        try:
            found = cls._checked(value_checks.mapping(checkpoint[META], META))
            value_checks.integer(checkpoint["global_step"], "global_step")
            for name, value in value_checks.mapping(checkpoint["state_dict"], "state_dict").items():
                dense(value, f"state_dict's {name}")
        except KeyError as error:
            raise RunError(
                f"{path} must carry {error}, and does not; use a checkpoint that this version wrote"
            ) from error
        except ValueError as error:
            raise RunError(
                f"{path} carries a configuration that this version cannot read: {error}; use the version that wrote it"
            ) from error
        return found

    @classmethod
    def _checked(cls, plain: Mapping[str, Any]) -> Self:
        run_id = value_checks.name(plain["run_id"], "run_id")
        fingerprint = value_checks.text(plain["fingerprint"], "fingerprint")
        config = value_checks.mapping(plain["config"], "config")
        components = plain.get("components", {})
        records.check_components(components)
        classes = value_checks.items(plain["classes"], "classes", most=_MOST_CLASSES)
        image_size = value_checks.integer(plain["image_size"], "image_size", low=1, high=_MOST_SIDE)
        channels = value_checks.integer(plain["channels"], "channels", low=1, high=64)
        mean, std = (
            tuple(value_checks.number(value, key) for value in value_checks.items(plain[key], key, length=channels))
            for key in ("mean", "std")
        )
        return cls(
            run_id=run_id,
            config=config,
            fingerprint=fingerprint,
            classes=tuple(value_checks.text(name, "a class") for name in classes),
            image_size=image_size,
            channels=channels,
            mean=mean,
            std=std,
            components=components,
            version=str(plain.get("version", "")),
        )
