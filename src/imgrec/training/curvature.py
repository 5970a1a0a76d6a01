"""Measure the training loss around the weights at the ends of epochs: its sharpness, and the noise of its gradient.

Both are measured in evaluation mode and in float32, on training images without augmentation, at the weights that train:
those of a moving average are not looked at. Nothing of the training changes, neither gradients nor random numbers.
"""

# N images, C channels, H rows, W columns, P weights that train

import contextlib
import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, cast

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from imgrec.classifier import Classifier
from imgrec.data.augment import to_unit
from imgrec.data.source import Images
from imgrec.inference import full_float32

log = logging.getLogger(__name__)

_CHUNK = 128  # images at a time for second derivatives, which keep several times the memory of a training step
_VECTORS = 20  # Lanczos vectors, each of P numbers
_RESTARTS = 10
_TOLERANCE = 0.01  # relative


class _AtEpochEnds(Callback):
    """Log a value under `train/<metric>` after every so many epochs.

    Args:
        every: Epochs between two measurements.
        images: The number of training images, evenly spaced over the set; at most all of them.
    """

    metric: str

    def __init__(self, *, every: int, images: int) -> None:
        self._every, self._images = every, images

    @abstractmethod
    def _measure(self, module: Classifier, images: Images, indices: Tensor) -> float:
        """Return the value, for the training images of these indices."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measure, on the first device alone."""
        epoch = trainer.current_epoch + 1
        if epoch % self._every or not trainer.is_global_zero:
            return
        images, module = cast(Any, trainer).datamodule.source.train, cast(Classifier, pl_module)
        count = min(self._images, len(images))
        with _as_evaluated(module.network), full_float32(), torch.enable_grad():
            value = self._measure(module, images, _spread(count, len(images)))
        for logger in trainer.loggers:
            logger.log_metrics({f"train/{self.metric}": value, "epoch": float(epoch)}, step=trainer.global_step)


class LogSharpness(_AtEpochEnds):
    """Log the largest eigenvalue of the loss' Hessian, as `train/sharpness` (Cohen et al. 2021, arXiv 2103.00065).

    Gradient descent with the rate lr is unstable along the eigenvector where it exceeds 2 / lr. It is found by Lanczos'
    method (ARPACK) to 1 %. A value that does not converge is logged as nan.
    """

    metric = "sharpness"

    def _measure(self, module: Classifier, images: Images, indices: Tensor) -> float:
        weights = _trained(module)
        count = sum(weight.numel() for weight in weights)

        def product(vector: NDArray[np.float32]) -> NDArray[np.float32]:
            return _hessian_times(module, images, indices, weights, vector.reshape(-1))

        start = np.random.Generator(np.random.PCG64(0)).standard_normal(count, np.float32)
        try:
            (largest,) = eigsh(
                LinearOperator((count, count), product, dtype=np.float32),
                k=1,
                which="LA",
                v0=start,
                ncv=min(_VECTORS, count),
                maxiter=_RESTARTS,
                tol=_TOLERANCE,
                return_eigenvectors=False,
            )
        except ArpackError as error:
            log.warning("train/sharpness is not known at this epoch: %s", error)
            return math.nan
        return float(largest)


class LogNoiseScale(_AtEpochEnds):
    """Log the simple noise scale of the gradient, in images, as `train/noise_scale` (McCandlish et al. 2018).

    It is tr(S) / |G|^2, for the covariance S of the gradients of single images and the mean gradient G, both estimated
    without bias from batches of two sizes (arXiv 1812.06162, appendix A.1). Far larger batches than this make a step
    little better. Where these images are too few to tell G from noise, inf is logged.

    Args:
        every: Epochs between two measurements.
        images: The number of images of the large batch, evenly spaced over the training images.
        small_batch: The number of images of a small batch.
        check: Refuses a number of training images that is too small.
    """

    metric = "noise_scale"

    def __init__(self, *, every: int, images: int, small_batch: int, check: Callable[[int], None]) -> None:
        super().__init__(every=every, images=images)
        self._small, self._check = small_batch, check

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Check the images that are left, as damaged ones may have been skipped."""
        self._check(len(cast(Any, trainer).datamodule.source.train))

    def _measure(self, module: Classifier, images: Images, indices: Tensor) -> float:
        weights, small = _trained(module), self._small
        batches = len(indices) // small
        total = [torch.zeros_like(weight) for weight in weights]
        of_small = 0.0
        for number in range(batches):
            loss = _loss(module, images, indices[number * small : (number + 1) * small])
            gradient = torch.autograd.grad(loss, weights, materialize_grads=True)
            of_small += _square(gradient) / batches
            torch._foreach_add_(total, list(gradient))
        large = batches * small
        of_large = _square(total) / batches**2
        signal = (large * of_large - small * of_small) / (large - small)
        noise = (of_small - of_large) / (1 / small - 1 / large)
        return noise / signal if signal > 0 else math.inf


def _spread(count: int, images: int) -> Tensor:
    """Return the indices of images, evenly spaced over the set, in a fixed random order: a set may lie in classes."""
    order = np.argsort(np.random.PCG64(0).random_raw(count), kind="stable")
    return torch.from_numpy(order * images // count)


def _trained(module: Classifier) -> list[nn.Parameter]:
    return [weight for weight in module.network.parameters() if weight.requires_grad]


def _loss(module: Classifier, images: Images, indices: Tensor) -> Tensor:
    """Return the mean loss of these images, as validation computes it."""
    images_nchw, positions = images.read(indices)
    shown = torch.from_numpy(to_unit(images_nchw.numpy())).to(module.device)
    targets_n = images.labels[indices[positions]].to(module.device)
    logits_nk = module.network(shown.contiguous(memory_format=module.memory_format))
    return module.loss(logits_nk, targets_n)


def _square(tensors: Any) -> float:
    """Return the sum of squares of all values."""
    return float(torch.stack(torch._foreach_norm(list(tensors))).double().square().sum())


def _hessian_times(
    module: Classifier,
    images: Images,
    indices: Tensor,
    weights: list[nn.Parameter],
    vector_p: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the product of the Hessian of the mean loss with a vector, both (P,)."""
    given_p = torch.from_numpy(vector_p.astype(np.float32)).to(module.device)
    parts = torch.split(given_p, [weight.numel() for weight in weights])
    along = [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]
    total = [torch.zeros_like(weight) for weight in weights]
    for start in range(0, len(indices), _CHUNK):
        chunk = indices[start : start + _CHUNK]
        with sdpa_kernel(SDPBackend.MATH):  # the only attention with second derivatives
            gradient = torch.autograd.grad(
                _loss(module, images, chunk), weights, create_graph=True, materialize_grads=True
            )
            slope = torch.stack([(g * a).sum() for g, a in zip(gradient, along, strict=True)]).sum()
            product = torch.autograd.grad(slope, weights, materialize_grads=True)
        torch._foreach_add_(total, list(product), alpha=len(chunk) / len(indices))
    return cast(NDArray[np.float32], torch.cat([each.reshape(-1) for each in total]).cpu().numpy())


@contextlib.contextmanager
def _as_evaluated(network: nn.Module) -> Iterator[None]:
    """Keep the network in evaluation mode in the block."""
    modes = [(each, each.training) for each in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode
