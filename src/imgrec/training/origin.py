"""The checkpoint that a run goes on from: which one, what it is of, and whether this run can."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgrec import assembly, checkpoint
from imgrec.classifier import META
from imgrec.config import plain
from imgrec.config.data import Folder
from imgrec.config.root import Config
from imgrec.errors import RunError, UsageError
from imgrec.runfolder import CHECKPOINTS

_NOTE = {"run_id", "config"}  # without which a checkpoint says nothing of its run
_PARTS = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "train_scores"}

Shapes = dict[str, tuple[int, ...]]


def newest(own: Path, parent: Path | None) -> tuple[Path, dict[str, Any]] | tuple[None, None]:
    """The checkpoint to go on from and its state: in the folder `own`, else the parent's; None for a new network."""
    if found := checkpoint.newest(own):
        return found
    if parent is None:
        return None, None
    found = checkpoint.newest(parent / CHECKPOINTS)
    if found is None:
        raise RunError(f"{parent / CHECKPOINTS} holds no checkpoint to go on from; start without resume=")
    return found


def meta(path: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """What the checkpoint says of its run. Raises RunError for one that imgrec did not write."""
    found = state.get(META)
    if not isinstance(found, dict) or not found.keys() >= _NOTE or not state.keys() >= _PARTS:
        raise RunError(f"{path} must be a checkpoint that imgrec wrote; restore the run's own, or remove its folder")
    return found


def measures_alike(known: Mapping[str, Any], config: Config, fingerprint: str) -> bool:
    """Whether a checkpoint's validation scores compare with those to come: the same loss, on the same images.

    known: its `meta`. fingerprint: of the images now.
    """
    before, now = known["config"], plain.flat(config)
    told = [key for key in before if key.startswith("loss.") or key == "data.image_size"]
    return all(now.get(key) == before[key] for key in told) and _same_images(known, config, fingerprint)


def check_architecture(path: Path, weights: Mapping[str, Tensor], module: nn.Module) -> None:
    """Refuse to go on with another network's weights, before anything is written."""
    if difference := _difference(module.state_dict(), weights):
        raise RunError(
            f"{path} must hold a network of this run's architecture: {difference}; restore the run's own checkpoint,"
            " or start over in another folder"
        )


def check_parent(config: Config, folder: Path, parent: Path, fingerprint: str) -> None:
    """Refuse a configuration that cannot go on from the parent's newest checkpoint, before `folder` is made.

    fingerprint: of the images. Raises UsageError for fewer epochs than it has begun, for a network of other weights,
    for images that have changed where `resume_override` does not name data.root, and for others than it left some of
    out, RunError where there is no whole checkpoint. A folder with a checkpoint of its own goes on from that one.
    """
    own = folder / CHECKPOINTS
    path, state = newest(own, parent)
    if path is None or state is None or path.parent == own:
        return
    known = meta(path, state)
    epoch, batch = state["callbacks"]["Saver"]["position"]
    begun = epoch + (batch > 0)
    if config.trainer.max_epochs < begun:
        raise UsageError(
            f"trainer.max_epochs must be at least {begun}, as many epochs as {path} has begun, got"
            f" {config.trainer.max_epochs}; give more epochs, or start a new run without resume="
        )
    if config.trainer.max_epochs == epoch:
        raise UsageError(
            f"trainer.max_epochs must be more than {epoch}, as {path} has done so many and nothing is left to train,"
            f" got {config.trainer.max_epochs}; give more epochs, or measure RUN again with imgrec evaluate"
        )
    if known["fingerprint"] != fingerprint and "data.root" not in config.resume_override:
        raise UsageError(
            f"data.root must hold the images that {path} was trained on, and their names or sizes have changed: split"
            " anew, images that it has seen would count as validation and test; restore them, or allow it with"
            " 'resume_override=[data.root]'"
        )
    chosen = state["ImageData"].get("subset")
    if chosen is not None and chosen["share"] == config.data.prune and not _same_images(known, config, fingerprint):
        raise UsageError(
            f"data.prune={config.data.prune} has left images out in {path}, and now there are others; keep data.root"
            " and the sizes of the splits, or give data.prune=0, or another share to choose anew"
        )
    if isinstance(config.data, Folder):
        known = {**known, "image_size": config.data.image_size}
    with torch.device("meta"):  # shapes alone: no memory, no random numbers
        network = assembly.network(config, known)
    weights = {name: value for name, value in state["state_dict"].items() if name.startswith("network.")}
    if difference := _difference(nn.ModuleDict({"network": network}).state_dict(), weights):
        raise UsageError(
            f"model must have the weights of {path} to go on from there, and they differ: {difference}; drop the"
            " change of model.* or data.image_size, or start a new run without resume="
        )


def _same_images(known: Mapping[str, Any], config: Config, fingerprint: str) -> bool:
    """Whether the images, as they are split and in their order, are those of the checkpoint."""
    now = plain.flat(config)
    sizes = (key for key in known["config"] if key in ("data.val_size", "data.test_size"))
    return known["fingerprint"] == fingerprint and all(now.get(key) == known["config"][key] for key in sizes)


def _difference(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """The first weight whose shape differs; None where they all agree."""
    here, there = _shapes(own), _shapes(found)
    for name in (*here, *there):
        if here.get(name) != there.get(name):
            return f"{name} is {here.get(name, 'absent')} here and {there.get(name, 'absent')} there"
    return None


def _shapes(weights: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
