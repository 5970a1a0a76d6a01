"""Run a network that torch.compile translates, for the batches whose shapes are known beforehand."""

import logging
from typing import cast

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


class Compiled:
    """Run a network compiled for whole training batches, and as it is for all other batches.

    PyTorch compiles a network again for each shape, which takes seconds to minutes. Training batches have one shape
    for each size of images. An epoch's last batch, validation and measurements have others, and take little time.

    What was compiled in this process before is dropped, as PyTorch compiles a few shapes of all networks together, and
    runs others as they are (`config.trainer.COMPILED_SHAPES`).

    It is no module, so that the network's parameters are saved under one name only.

    Args:
        network: The network; it is not compiled before its first whole batch.
        batch_size: The images in a whole training batch of this process.
    """

    def __init__(self, network: nn.Module, *, batch_size: int) -> None:
        self._network = network
        torch.compiler.reset()
        self._compiled = cast(nn.Module, torch.compile(network, dynamic=False))
        self._batch_size = batch_size
        self._shapes = set[tuple[int, ...]]()

    def __call__(self, images_nchw: Tensor) -> Tensor:
        """Return the logits (N, K) of images (N, C, H, W)."""
        if not self._network.training or len(images_nchw) != self._batch_size:
            return cast(Tensor, self._network(images_nchw))
        if (shape := tuple(images_nchw.shape)) not in self._shapes:
            self._shapes.add(shape)
            log.info("compiling the network for batches of %s: this step takes longer", " x ".join(map(str, shape)))
        return cast(Tensor, self._compiled(images_nchw))
