"""Fetch ImageNet weights through torchvision: downloaded once, checked on every use."""

import contextlib
import hashlib
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor
from torchvision.models import ResNet18_Weights, ResNet50_Weights, get_model_weights

from imgrec.errors import RunError
from imgrec.models.torchvision_weights import FIRST_WEIGHTS

# The constants that these weights were trained with: torchvision's ImageClassification preset,
# torchvision/transforms/_presets.py (RGB in [0, 1], over ImageNet's training images).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# V1 is the only one for ResNet-18 (69.76 % top-1 on ImageNet); V2 is torchvision's newer recipe for ResNet-50
# (80.86 %, where V1 has 76.13 %): https://pytorch.org/vision/stable/models.html
# These two stay as they are for model=resnet18 and resnet50; all others are torchvision's default.
_WEIGHTS: dict[str, Any] = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V2,
}
_TIMEOUT_S = 10.0  # torch.hub sets none, and without one a dead network would block the run


def state_dict(name: str) -> dict[str, Tensor]:
    """Return ImageNet weights of torchvision's `name`, from torch.hub's folder, or else downloaded into it.

    The file's name contains the first eight digits of its SHA-256. A file that is already there is checked against them
    as a new download is. Only tensors are unpickled.

    Raises:
        RunError: The download fails, or the file is not the published one.
    """
    weights = _weights(name)
    url = str(weights.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.exists():
        _check(path)
    try:
        with contextlib.redirect_stdout(sys.stderr), _timeout(_TIMEOUT_S):  # stdout is for results
            fetched: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except OSError as error:  # URLError, HTTPError, timeouts, a folder that cannot be written
        raise RunError(
            f"the pretrained weights {url} could not be fetched ({error}); "
            f"place the file at {path}, or set model.pretrained=false"
        ) from error
    except RuntimeError as error:
        if "invalid hash value" not in str(error):
            raise
        raise RunError(
            f"the pretrained weights {url} arrived damaged ({error}); start again, place the file at {path}, "
            "or set model.pretrained=false"
        ) from error
    return fetched


def name_if_new(name: str) -> str | None:
    """Return the name of the file of torchvision's weights for `name`; None if it is the one of `FIRST_WEIGHTS`.

    The file's name contains a part of its SHA-256. So the id of a run changes if torchvision's default does, and those
    of earlier runs stay.
    """
    file = Path(urlparse(str(_weights(name).url)).path).name
    return None if FIRST_WEIGHTS.get(name) == Path(file).stem.rpartition("-")[2] else f"torchvision/{file}"


def normalisation(name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and deviation of each channel, of pixels in [0, 1], from the transforms of the weights of `name`."""
    preset = _weights(name).transforms()
    return tuple(preset.mean), tuple(preset.std)


def _weights(name: str) -> Any:
    return _WEIGHTS.get(name) or get_model_weights(name).DEFAULT


def _check(path: Path) -> None:
    expected = path.stem.rpartition("-")[2]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        raise RunError(
            f"{path} must have a SHA-256 that starts with {expected}, as its name says, got {found[: len(expected)]}; "
            "remove it to download it again"
        )


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
