"""Let a new network begin with the weights of another one (`init_from`), or refuse those that do not fit it."""

import json
import logging
from collections.abc import Sequence

from imgrec import initial, networks
from imgrec.config import serialize
from imgrec.config.root import Config
from imgrec.errors import UsageError, shown
from imgrec.initial import Weights
from imgrec.models import parts
from imgrec.models.network import Network

log = logging.getLogger(__name__)


def check(config: Config) -> None:
    """Check that the weights that `init_from` names are those of the network that `model` names.

    Only shapes are computed. The head does not count, as the classes of the images may not be known yet.

    Raises:
        UsageError: They are not.
        RunError: They cannot be read.
    """
    assert config.init_from is not None, "of a run that begins with other weights"
    found = initial.outline(config.init_from)
    outline = networks.outline(config, channels=found.channels or 3)
    _refuse_misfit(config, outline, found, but=parts.head_of(config.model, outline))


def begin_with(config: Config, built: Network, found: Weights, classes: Sequence[str]) -> None:
    """Load weights into a new network, with the head if the classes are the same, and say which."""
    head = parts.head_of(config.model, built)
    same = None if found.classes is None else found.classes == tuple(classes)
    takes_head = parts.takes_head(built, found.tensors, head, same_classes=same)
    but = () if takes_head else head
    _refuse_misfit(config, built, found, but=but)
    parts.put(built, found.tensors, but=but)
    if takes_head:
        log.info("beginning with the weights of %s, the head included", shown(config.init_from or ""))
        return
    was = "" if found.classes is None else f" in place of {len(found.classes)} others"
    log.info(
        "beginning with the weights of %s; the head (%s) is new, as it is for %d classes%s",
        shown(config.init_from or ""),
        ", ".join(name.removeprefix("net.") for name in head),
        len(classes),
        was,
    )


def _refuse_misfit(config: Config, built: Network, found: Weights, *, but: Sequence[str]) -> None:
    if (difference := parts.misfit(built, found.tensors, but=but)) is None:
        return
    way_out = "give the model, and images of the side and the channels, that they were trained with"
    if found.config is not None:
        own = serialize.flat(config)
        keys = [key for key in found.config if key.startswith("model.")]
        others = [f"{_short(key)}={_plain(found.config[key])}" for key in keys if found.config[key] != own.get(key)]
        seen = f"images of {found.image_size} px and {found.channels} channels"
        way_out = f"the source has {seen}" + (f", and {', '.join(others)}" if others else "")
    raise UsageError(
        f"init_from={shown(config.init_from or '')} must hold the weights of model={config.model.name}, and"
        f" {difference}",
        way_out=way_out,
    )


def _short(key: str) -> str:
    return key.removesuffix(".name")


def _plain(value: object) -> str:
    """Return a value as a command gives it."""
    return json.dumps(value, separators=(",", ":")).replace('"', "")
