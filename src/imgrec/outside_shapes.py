"""Refuse a network or a loss of the user whose results have other shapes than those of imgrec's."""

import torch

from imgrec.config import origins, outside_errors
from imgrec.config.root import Config
from imgrec.data.source import Source
from imgrec.errors import UsageError
from imgrec.losses import LossFunction
from imgrec.models.network import Network


def check(config: Config, network: Network, loss: LossFunction, images: Source) -> None:
    """Try an outside network on two images, and an outside loss on their logits.

    Raises:
        UsageError: Their results have other shapes.
    """
    classes = len(images.classes)
    if origins.origin_of(type(config.model)) is not None:
        side, training = images.image_size, network.training
        with torch.no_grad():
            shape = tuple(network.eval()(torch.zeros(2, images.channels, side, side)).shape)
        network.train(training)
        if shape != (2, classes):
            raise UsageError(
                f"model={config.model.name} must give logits (N, {classes}), one a class, and gives {shape} for two"
                " images; take num_classes in build()"
            )
    if origins.origin_of(type(config.loss)) is not None:
        logits_nk, target = torch.zeros(2, classes), torch.arange(2) % classes
        for reduction, expected in (("mean", ()), ("none", (2,))):
            try:
                shape = tuple(loss(logits_nk, target, reduction=reduction).shape)
            except TypeError as error:
                if outside_errors.origin_of(error) is not None:  # raised in the loss, not by calling it
                    raise
                raise UsageError(
                    f"loss={config.loss.name} must take (logits, target, *, reduction), got: {error}"
                ) from error
            if shape != expected:
                raise UsageError(
                    f"loss={config.loss.name} must give shape {expected} for two images with reduction={reduction!r},"
                    f" got {shape}; imgrec.losses.reduced does so"
                )
