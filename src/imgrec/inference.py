"""Run a trained network over a split under a protocol.

N images, K classes. Logits are float32, whatever the arithmetic of the training.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from imgrec import protocol_rows
from imgrec.config import listed
from imgrec.config.protocol import Protocol
from imgrec.data import workers
from imgrec.data.loader import eval_loader
from imgrec.data.source import Images
from imgrec.predictions import Predicted, predicted
from imgrec.protocols import Batch, Known

if TYPE_CHECKING:
    from imgrec.config.protocol import Learner, Measure


@dataclass(kw_only=True)
class Predictions:
    """The outputs of a network for the N readable images of a split.

    Attributes:
        logits_nk: Logits (N, K).
        targets_n: True classes (N,).
        indices_n: The images' positions in the split (N,).
        precision: The network's arithmetic, "32" or "bf16".
        temperature: The divisor of the logits for calibrated confidences (`calibration`); None if none was fitted.
        settings: The protocol's settings that differ from their defaults.
    """

    logits_nk: Tensor
    targets_n: Tensor
    indices_n: Tensor
    precision: str = "32"
    temperature: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def confidence_n(self) -> Tensor:
        """The probability of the predicted class, in [0, 1]."""
        return self.logits_nk.softmax(dim=1).amax(dim=1)

    @property
    def predicted_n(self) -> Tensor:
        return self.logits_nk.argmax(dim=1)

    def kept(self) -> Predicted:
        """Return what `predictions.npz` stores of the predictions."""
        probabilities_nk = self.logits_nk.double().softmax(dim=1)
        calibrated_n = None
        if self.temperature is not None:
            calibrated_n = (self.logits_nk.double() / self.temperature).softmax(dim=1).amax(dim=1).numpy()
        return predicted(
            indices_n=self.indices_n.numpy(),
            targets_n=self.targets_n.numpy(),
            predicted_n=self.predicted_n.numpy(),
            confidence_n=probabilities_nk.amax(dim=1).numpy(),
            true_n=probabilities_nk.gather(1, self.targets_n[:, None]).squeeze(1).numpy(),
            calibrated_n=calibrated_n,
        )

    def worst(self, count: int) -> Tensor:
        """Return the rows of the most confident mistakes, at most `count`, in order of falling confidence."""
        wrong = (self.predicted_n != self.targets_n).nonzero().squeeze(1)
        order = self.confidence_n[wrong].argsort(descending=True, stable=True)
        return wrong[order[:count]]


def predict(
    network: nn.Module,
    images: Images,
    protocol: Protocol,
    *,
    device: torch.device,
    batch_size: int,
    num_workers: int = 0,
    channels_last: bool = True,
    precision: str = "32",
    head: Sequence[str] = (),
    measured: "Measure | None" = None,
) -> dict[str, Predictions]:
    """Run the network in eval mode over a split under a protocol, in one pass, in order.

    Args:
        network: Maps images (N, C, H, W) in [0, 1] to logits (N, K).
        images: The split.
        protocol: The protocol; its settings are stored in the result.
        device: The device that the network is moved to.
        batch_size: The number of images at a time.
        num_workers: The number of processes that read images.
        channels_last: True to pass images in NHWC memory format.
        precision: "32", or "bf16" by autocast.
        head: The names of the layers that give the classes, for protocols that ask for features.
        measured: What a protocol that learns has learned, as of `learned`; None for other protocols.

    Returns:
        Predictions by label: the protocol's name, or `<name>:<row>` if it has several rows.

    Raises:
        RunError: The protocol returns anything else than logits of these images.
    """
    network = network.eval().to(device)  # before inference mode, whose tensors could never be trained again
    targets, indices = [], []
    logits: dict[str, list[Tensor]] = {}
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    loader = eval_loader(
        images, batch_size=batch_size, num_workers=num_workers, pin_memory=device.type == "cuda", with_indices=True
    )

    seen = _Seen(network, head)
    assert measured is not None or not protocol.learns, "it is to learn first"
    measured = measured or cast("Measure", protocol.build())
    lower = torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    with _gradients(network, protocol.takes_gradients), full_float32(), lower:
        try:
            for batch_nchw, targets_n, indices_n in loader:
                batch_nchw = batch_nchw.to(device).contiguous(memory_format=memory_format)
                # copies: a protocol may change what it is given
                batch = Batch(
                    images_nchw=batch_nchw, targets_n=targets_n.to(device, copy=True), indices_n=indices_n.clone()
                )
                for row, logits_nk in protocol_rows.rows(protocol, measured(seen, batch)).items():
                    label = protocol_rows.label(protocol, row, logits_nk, (len(indices_n), seen.classes))
                    logits.setdefault(label, []).append(logits_nk.detach().cpu())
                targets.append(targets_n)
                indices.append(indices_n)
        except (OSError, RuntimeError) as error:
            raise workers.told(error, num_workers) or error from error
        finally:
            workers.end(loader)
    protocol_rows.check(protocol, logits, batches=len(targets))
    return {
        label: Predictions(
            logits_nk=torch.cat(found),
            targets_n=torch.cat(targets),
            indices_n=torch.cat(indices),
            precision=precision,
            settings={key: value for key, value in listed.changed(protocol).items() if key != protocol.rows_from},
        )
        for label, found in logits.items()
    }


def learned(
    network: nn.Module,
    images: Images,
    protocol: Protocol,
    *,
    head: Sequence[str],
    classes: int,
    device: torch.device,
    batch_size: int,
    num_workers: int = 0,
    channels_last: bool = True,
) -> "Measure":
    """Let a protocol learn from the features of training images, and return what measures then.

    Args:
        network: As in `predict`, like all that is not below.
        images: The training images.
        protocol: A protocol that learns.
        head: The names of the layers that give the classes.
        classes: The number of classes.
        device: As in `predict`.
        batch_size: As in `predict`.
        num_workers: As in `predict`.
        channels_last: As in `predict`.
    """
    network = network.eval().to(device)
    seen = _Seen(network, head)
    features, targets = list[Tensor](), list[Tensor]()
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    loader = eval_loader(images, batch_size=batch_size, num_workers=num_workers, pin_memory=device.type == "cuda")
    with torch.inference_mode(), full_float32():
        try:
            for batch_nchw, targets_n in loader:
                batch_nchw = batch_nchw.to(device).contiguous(memory_format=memory_format)
                features.append(seen.features(batch_nchw).cpu())
                targets.append(targets_n)
        except (OSError, RuntimeError) as error:
            raise workers.told(error, num_workers) or error from error
        finally:
            workers.end(loader)
        known = Known(features_md=torch.cat(features), targets_m=torch.cat(targets), classes=classes)
        return cast("Learner", protocol.build())(known)


class _Seen:
    """A network as protocols see it: logits and features in float32, so that views are averaged in full precision.

    Attributes:
        classes: The number of classes of the newest logits; 0 before the first.
    """

    def __init__(self, network: nn.Module, head: Sequence[str]) -> None:
        self._network, self._head = network, head
        self.classes = 0

    def __call__(self, images_nchw: Tensor, /) -> Tensor:
        logits_nk: Tensor = self._network(images_nchw).float()
        self.classes = logits_nk.shape[1]
        return logits_nk

    def features(self, images_nchw: Tensor, /) -> Tensor:
        """Return the values that enter the (first) layer that gives the classes: the mean over an image's places."""
        found: list[Tensor] = []

        def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found.append(inputs[0])

        handle = self._network.get_submodule(self._head[0]).register_forward_pre_hook(note)
        try:
            self(images_nchw)
        finally:
            handle.remove()
        (values,) = found
        return (values.mean(dim=(2, 3)) if values.ndim == 4 else values.flatten(start_dim=1)).float()


@contextlib.contextmanager
def _gradients(network: nn.Module, taken: bool) -> Iterator[None]:
    """Disable gradients in the block, or enable them with respect to the images only."""
    if not taken:
        with torch.inference_mode():
            yield
        return
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Disable TF32 on GPUs in the block, so that convolutions and matrix products are in full float32.

    PyTorch's older switches (allow_tf32) cannot be read where a program has used the newer ones, which are used here.
    """
    kinds: tuple[Any, ...] = (
        torch.backends.cudnn.conv,  # type: ignore[attr-defined]
        torch.backends.cuda.matmul,
    )
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision
