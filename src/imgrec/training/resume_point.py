"""Find the checkpoint that a run continues from, and check that the run can continue from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgrec import checkpoint, networks
from imgrec.config import serialize
from imgrec.config.changes import needs_whole_epoch
from imgrec.config.held_out import TEST_KEYS, VALIDATION_KEYS
from imgrec.config.root import Config
from imgrec.data.inventory import Inventory
from imgrec.errors import RunError, UsageError, shown
from imgrec.runfolder import CHECKPOINTS
from imgrec.stored.meta import Meta
from imgrec.stored.position import Position
from imgrec.stored.resume_state import ResumeState

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A checkpoint file to continue from.

    Attributes:
        path: The file.
        state: imgrec's own part of its contents.
        weights: The module's weights.
    """

    path: Path
    state: ResumeState
    weights: Mapping[str, Tensor]


def newest(own: Path, parent: Path | None, *, anew: str = "start without resume=") -> Found | None:
    """Return the checkpoint to continue from: in the folder `own`, else the parent's; None for a new network.

    Args:
        own: The run's checkpoints.
        parent: The folder of the parent run.
        anew: How to start without the parent, for the error message.

    Raises:
        RunError: The parent has no complete checkpoint, or no run can continue from the checkpoint.
    """
    found = _newest_file(own, parent, anew)
    return None if found is None else _read(*found)


def _newest_file(own: Path, parent: Path | None, anew: str) -> tuple[Path, dict[str, Any]] | None:
    if found := checkpoint.newest(own):
        return found
    if parent is None:
        return None
    try:
        found = checkpoint.newest(parent / CHECKPOINTS)
    except RunError:
        raise RunError(f"{parent / CHECKPOINTS} holds no whole checkpoint; restore one, or {anew}") from None
    if found is None:
        raise RunError(f"{parent / CHECKPOINTS} holds no checkpoint to go on from; {anew}")
    return found


def _read(path: Path, content: Mapping[str, Any]) -> Found:
    return Found(path=path, state=ResumeState.of(path, content), weights=content["state_dict"])


def measures_alike(known: Meta, config: Config, seen: Inventory, *, losses: bool = True) -> bool:
    """Return True if a checkpoint's validation top1 are comparable with later ones: same images, same size.

    Args:
        known: The checkpoint's description.
        config: The run's configuration.
        seen: The present images.
        losses: True if the losses must be comparable as well.
    """
    before, now = known.config, serialize.flat(config)
    # class weights are those of the training loss alone
    measured = {key for key in before if key.startswith("loss.")} - {"loss.class_weights"}
    compared = {"data.image_size", *(measured if losses else ())} & before.keys()
    return all(now.get(key) == before[key] for key in compared) and _same_images(known, config, seen)


def check_architecture(path: Path, weights: Mapping[str, Tensor], module: nn.Module) -> None:
    """Refuse the weights of another network, before anything is written."""
    own = module.state_dict()
    difference = _difference(own, weights) or next(
        (
            f"{name} is {value.dtype}, not {own[name].dtype}"
            for name, value in weights.items()
            if value.dtype != own[name].dtype
        ),
        None,
    )
    if difference:
        raise RunError(
            f"{path} must hold a network of this run's architecture: {difference}; restore the run's own checkpoint,"
            " or start over in another folder"
        )


def check_parent(
    config: Config,
    folder: Path,
    parent: Path,
    seen: Inventory,
    *,
    changed: Sequence[str] = (),
    anew: str = "start without resume=",
) -> None:
    """Refuse a configuration that cannot continue from the parent's newest checkpoint, before `folder` is created.

    A folder with its own checkpoint continues from that one, and is not checked.

    Args:
        config: The run's configuration.
        folder: The run's folder.
        parent: The parent's folder.
        seen: The present images.
        changed: The keys in which the configuration differs from the parent's, for the advice.
        anew: How to start without the parent, for the advice.

    Raises:
        UsageError: The configuration cannot continue from the checkpoint.
        RunError: There is no complete checkpoint.
    """
    own = folder / CHECKPOINTS
    file = _newest_file(own, parent, anew)
    if file is None or file[0].parent == own:
        return
    found = _read(*file)
    known, position = found.state.meta, found.state.position
    try:
        _check_epochs(config, found.path, position, changed)
        _check_images(config, found.path, known, seen, changed)
        _check_pruning(config, found, seen, changed)
        if position.batch:
            _check_middle(config, found.path, known, position.epoch, seen)
        _check_weights(config, found)
    except UsageError as error:
        raise UsageError(f"{error}, or {anew}") from None


def _check_epochs(config: Config, path: Path, position: Position, changed: Sequence[str]) -> None:
    """Refuse fewer epochs than the checkpoint has begun, or a number of epochs that it has already done."""
    epoch = position.epoch
    epochs, begun = config.trainer.max_epochs, epoch + (position.batch > 0)
    more = f"give trainer.max_epochs={epoch + 1} or more, with {_allowing(changed, 'trainer.max_epochs')}"
    if epochs < begun:
        raise UsageError(
            f"trainer.max_epochs must be at least {begun}, as many epochs as {path} has begun, got {epochs}; {more}"
        )
    if epochs == epoch:
        raise UsageError(
            f"trainer.max_epochs must be more than {epoch}, as {path} has done so many and nothing is left to train,"
            f" got {epochs}; {more}, or measure {path.parent.parent} again with imgrec evaluate"
        )


def _check_images(config: Config, path: Path, known: Meta, seen: Inventory, changed: Sequence[str]) -> None:
    """Refuse changed images if `resume_override` does not name data.root, and images of other classes."""
    if seen.known_as(known.fingerprint) is not None:
        return
    if "data.root" not in config.resume_override:
        raise UsageError(
            f"data.root must hold the images that {path} was trained on, and their names or contents have changed:"
            " split anew, images that it has seen would count as validation and test; restore them, or allow it with"
            f" {_allowing(changed, 'data.root')}"
        )
    if seen.listing is not None and list(seen.listing.classes) != list(known.classes):
        raise UsageError(
            f"data.root must hold the classes that {path} was trained on, {_first_names(known.classes)}, got"
            f" {_first_names(seen.listing.classes)}; name a folder of these classes"
        )


def _check_pruning(config: Config, found: Found, seen: Inventory, changed: Sequence[str]) -> None:
    """Refuse to leave out different images after the data changed, or to add images again in the middle of an epoch."""
    path, position, chosen = found.path, found.state.position, found.state.subset
    if chosen is None:
        return
    after, epochs = config.data.pruned_after(config.trainer.max_epochs), config.trainer.max_epochs
    stays = chosen.share == config.data.prune and position.epoch >= after
    if stays and not _same_images(found.state.meta, config, seen):
        raise UsageError(
            f"data.prune={config.data.prune} has left images out in {path}, and now there are others; restore them, or"
            f" give data.prune=0, or another share to choose anew, with {_allowing(changed, 'data.prune')}"
        )
    if position.batch and not stays and config.data.prune != chosen.share:
        raise UsageError(
            f"data.prune must stay {chosen.share} until epoch {position.epoch + 1} is over: {path} lies in the middle"
            f" of it, without some images, got {config.data.prune}; drop the change"
        )
    if position.batch and not stays:
        soon = math.floor(1e4 * chosen.since / epochs) / 1e4
        raise UsageError(
            f"data.prune_after={config.data.prune_after} of trainer.max_epochs={epochs} leaves no images out before"
            f" epoch {after + 1}, and {path} lies in the middle of epoch {position.epoch + 1}, without some; give"
            f" data.prune_after={soon}, with {_allowing(changed, 'data.prune_after')}"
        )


def _check_middle(config: Config, path: Path, known: Meta, epoch: int, seen: Inventory) -> None:
    """Refuse changes that take effect only at the beginning of an epoch, in the middle of the epoch of that index."""
    then, now = known.config, serialize.flat(config)
    differing = [f"{key} {then[key]} -> {now[key]}" for key in needs_whole_epoch(then, now)]
    if seen.known_as(known.fingerprint) is None:
        differing.append("the images in data.root")
    if differing:
        raise UsageError(
            f"{', '.join(differing)} can only change where an epoch begins, and {path} lies in the middle of epoch"
            f" {epoch + 1}, whose images that were seen could not be told from the others; drop the change"
        )


def _check_weights(config: Config, found: Found) -> None:
    """Refuse a network whose weights have other names or shapes than those of the checkpoint."""
    known = found.state.meta
    if config.data.resizable:
        known = replace(known, image_size=config.data.side)
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        network = networks.network_of(config, known)
    weights = {name: value for name, value in found.weights.items() if name.startswith("network.")}
    if difference := _difference(nn.ModuleDict({"network": network}).state_dict(), weights):
        raise UsageError(
            f"model must have the weights of {found.path} to go on from there, and they differ: {difference}; drop the"
            " change of model.* or data.image_size"
        )


def _allowing(changed: Sequence[str], key: str) -> str:
    """Return the override that allows these changes, and a change of `key`."""
    return f"'resume_override=[{','.join(sorted({*changed, key}))}]'"


def _first_names(classes: Sequence[str]) -> str:
    return ", ".join(map(shown, classes[:5])) + (", ..." if len(classes) > 5 else "")


def _same_images(known: Meta, config: Config, seen: Inventory) -> bool:
    """Return True if the images, their splits and their order are those of the checkpoint."""
    now = serialize.flat(config)
    drawn = (key for key in known.config if key in (*VALIDATION_KEYS, *TEST_KEYS))
    return seen.known_as(known.fingerprint) is not None and all(now.get(key) == known.config[key] for key in drawn)


def _difference(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Return the first weight whose shape differs, in words; None if all agree."""
    here, there = _shapes(own), _shapes(found)
    for name in (*here, *there):
        if here.get(name) != there.get(name):
            return f"{name} is {here.get(name, 'absent')} here and {there.get(name, 'absent')} there"
    return None


def _shapes(weights: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
