"""Build networks of a library's architectures."""

import re
from typing import Any

from imgrec.components.model.library import Library
from imgrec.errors import UsageError
from imgrec.models.build import build
from imgrec.models.network import Network


def network(
    library: type[Library],
    architecture: str,
    *,
    image_size: int = 32,
    channels: int = 3,
    classes: int = 10,
    fetch: bool = True,
    **settings: Any,
) -> Network:
    return build(
        library(architecture=architecture, **settings),
        num_classes=classes,
        image_size=image_size,
        channels=channels,
        mean=[0.5] * channels,
        std=[0.25] * channels,
        fetch=fetch,
    )


def fitting(library: type[Library], architecture: str) -> int:
    """The smallest side from 32 px that fits, as the refusal of 32 px says."""
    try:
        library(architecture=architecture).check_images(32, resizable=True)
    except UsageError as refusal:
        (side,) = re.findall(r"data\.image_size=(\d+)", str(refusal))
        return int(side)
    return 32
