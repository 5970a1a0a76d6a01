"""Rebuild a trained network from its checkpoint, and let it name what images show.

N images, K classes, C channels.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imgrec import checkpoint, networks
from imgrec.config import listed, origins, outside_errors, serialize
from imgrec.config.listed import LISTS
from imgrec.config.root import Config
from imgrec.data.given import Given, pixels
from imgrec.errors import RunError, StrPath, UsageError, shown
from imgrec.inference import full_float32
from imgrec.losses import LossFunction
from imgrec.models.network import Network
from imgrec.stored.meta import META, Meta


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of N images.

    Attributes:
        probabilities_nk: The softmax of the logits, float32 (N, K), on the CPU. For losses that estimate no
            probabilities, such as the hinge, their order alone means something.
        classes: The K classes.
    """

    probabilities_nk: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.probabilities_nk)

    @property
    def predicted_n(self) -> Tensor:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities_nk.argmax(dim=1)

    @property
    def labels(self) -> list[str]:
        """The name of each image's most probable class."""
        return [self.classes[number] for number in self.predicted_n.tolist()]

    @property
    def confidence_n(self) -> Tensor:
        """The probability of each image's most probable class (N,), in [0, 1]."""
        return self.probabilities_nk.amax(dim=1)

    def as_csv(self, names: Sequence[str]) -> str:
        """Return a table with a row for each image: its name, its most probable class, and all probabilities.

        Args:
            names: The names of the N images.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["image", "label", *self.classes])
        for name, label, row_k in zip(names, self.labels, self.probabilities_nk.tolist(), strict=True):
            rows.writerow([name, label, *(f"{value:.7g}" for value in row_k)])
        return text.getvalue()


@dataclass(kw_only=True)
class Trained:
    """A network from a checkpoint, in eval mode, with the description of its training.

    Attributes:
        image_size: The side of the images that it was trained on, in pixels.
        channels: Their channels C.
    """

    network: Network
    loss: LossFunction
    config: Config
    classes: tuple[str, ...]
    run_id: str
    step: int
    fingerprint: str
    image_size: int
    channels: int

    @torch.inference_mode()
    def predict(self, images: Given, *, batch_size: int = 256) -> Prediction:
        """Return what the network says of images.

        Args:
            images: Paths of image files, of which the central square is resized as data=folder does it; or pixels, as
                uint8 or as floats in [0, 1], (N, C, H, W) or (N, H, W, C), in the size that the network was trained on.
                A single path or image is one of N = 1.
            batch_size: The number of images at a time, at least 1.

        Raises:
            UsageError: These are no such images.
            ReadError: A file cannot be read.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size must be >= 1, got {batch_size}")
        network = self.network.eval()
        device = next(network.parameters()).device
        parts = []
        with full_float32():
            for some_nchw in pixels(images, size=self.image_size, channels=self.channels, at_a_time=batch_size):
                some_nchw = some_nchw.to(device).contiguous(memory_format=self._memory_format)
                parts.append(network(some_nchw).float().softmax(dim=1).cpu())
        found = torch.cat(parts) if parts else torch.empty(0, len(self.classes))
        return Prediction(probabilities_nk=found, classes=self.classes)

    @property
    def _memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.config.trainer.channels_last else torch.contiguous_format


def rebuild(path: StrPath, *, other_code: bool = False) -> Trained:
    """Return the network of a checkpoint file, rebuilt from the configuration in the file.

    The configuration is data: it only selects known networks and losses. With a moving average of the weights, the
    weights are the averaged ones. They have the memory format of the training, so that the rebuilt network computes the
    same bits as the saved one on the same machine. Listed components that are not loaded, such as the protocols of the
    run, are left out of the result's configuration.

    Args:
        path: The file.
        other_code: True if an outside network, loss or data set may have changed since.

    Raises:
        UsageError: An outside component of the run is not loaded, or what decides its scores has changed.
        RunError: The file is damaged, or its weights are those of another network.
    """
    path = Path(path)
    state = checkpoint.load(path)
    if state.get(META) is None:
        raise RunError(f"{path} must be a checkpoint that imgrec wrote: it carries no configuration; name a run's own")
    meta = Meta.of(path, state)
    weights = checkpoint.of_layer(state["state_dict"], "network")
    axes = {key: key.partition("=")[0] for key in meta.components}
    origins.refuse_missing({key: meta.components[key] for key in axes if axes[key] not in LISTS}, shown(path))
    if not other_code:
        of_scores = {key: meta.components[key] for key in axes if axes[key] in origins.OF_SCORES}
        origins.refuse_other(of_scores, shown(path))
    try:
        config = serialize.from_flat(listed.without(meta.config, origins.missing(meta.components)))
        with torch.device("meta"):  # shapes only, as the network may be larger than the memory
            outline = networks.network_of(config, meta)
    except RunError:  # a package that the network needs is not installed
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:  # UsageError is a ValueError
        if (told := outside_errors.explained(error)) is not None:
            raise told from error
        raise RunError(
            f"{path} carries a configuration that this version cannot read: {error}; use the version that wrote it"
        ) from error
    try:
        kinds = {name: value.dtype for name, value in outline.state_dict().items()}
        outline.load_state_dict(weights, assign=True)
        for name, value in weights.items():
            if value.dtype != kinds[name]:
                raise RuntimeError(f"\n\t{name} is {value.dtype}, not {kinds[name]}")
        rebuilt = networks.network_of(config, meta)
        rebuilt.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:2]).strip()
        raise RunError(
            f"{path} must hold the weights of model={config.model.name}, which its configuration names, and holds"
            f" those of another architecture: {reason}; use the run's own checkpoint"
        ) from error
    memory_format = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
    return Trained(
        network=rebuilt.to(memory_format=memory_format).eval(),
        loss=config.loss.build(),
        config=config,
        classes=meta.classes,
        run_id=meta.run_id,
        step=state["global_step"],
        fingerprint=meta.fingerprint,
        image_size=meta.image_size,
        channels=meta.channels,
    )
