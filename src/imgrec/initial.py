"""Find and read the weights that a new run begins with (`init_from`). Imports torch only where it reads tensors."""

import dataclasses
import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgrec import runfolder
from imgrec.config import serialize
from imgrec.config.held_out import NEWER_KEYS, TEST_KEYS, VALIDATION_KEYS
from imgrec.config.root import Config
from imgrec.errors import RunError, UsageError, shown
from imgrec.records import Record
from imgrec.runfolder import CHECKPOINTS, RECORD

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

SAFE = ".safetensors"
KEY = "init_from"
_PREFIX = "network."  # of the network's tensors in a checkpoint
_CONSTANTS = ("mean", "std")  # the normalisation of `models.network.Network`


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The file of the weights.

    Attributes:
        file: The file.
        run_id: The id of the run whose folder was named; None for a file.
        at: The checkpoint of that run, best or last; None for a file.
        sha256: The digest of the weights, as the run's record states it; None for a file.
    """

    file: Path
    run_id: str | None = None
    at: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The tensors of a network.

    Attributes:
        tensors: The tensors, by the names of `models.network.Network`.
        classes: The names of the classes, in the order of the logits; None if the file does not tell.
        config: The flat configuration of the training; None if the file does not tell.
        image_size: The side of its images, in pixels; None if the file does not tell.
        channels: The channels of its images; None if the file does not tell.
        fingerprint: The fingerprint of its images; None if the file does not tell.
    """

    tensors: Mapping[str, "Tensor"]
    classes: tuple[str, ...] | None = None
    config: Mapping[str, Any] | None = None
    image_size: int | None = None
    channels: int | None = None
    fingerprint: str | None = None


def place(name: str) -> Path:
    """Return the path that `init_from` names."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # there is no home
        return Path(name)


def is_there(name: str) -> bool:
    """Return True if `init_from` names something that exists."""
    try:
        return place(name).exists()
    except (OSError, ValueError):  # a name that the file system refuses
        return False


def find(name: str, *, key: str = KEY) -> Origin:
    """Return the file with the weights that `init_from` names, or another key.

    Of a finished run it is `best`, or `last` for a run without validation.

    Raises:
        UsageError: The path does not exist, or is neither a run nor a file.
        RunError: The run is not finished, or its checkpoint is gone.
    """
    path = place(name)
    if not is_there(name):
        raise UsageError(
            f"{key} must name a run's folder, a checkpoint or a {SAFE} file, and {shown(path)} does not exist;"
            " restore it, or name another"
        )
    if path.is_file() and path.name != RECORD:
        return Origin(file=path)
    folder = path.parent if path.name == RECORD else path
    record = runfolder.look(folder)
    if record is None:
        raise UsageError(
            f"{key} must name a run's folder, a checkpoint or a {SAFE} file, and {shown(path)} is none;"
            f" {runfolder.name_one(folder)}"
        )
    if record.status != "finished":
        raise RunError(
            f"{key}={shown(path)} must be a finished run, and is {record.state}; finish it, or name a checkpoint,"
            f" such as {shown(folder / CHECKPOINTS / 'last.ckpt')}"
        )
    at = "best" if "best" in record.weights else "last"
    file = folder / CHECKPOINTS / f"{at}.ckpt"
    if not file.is_file():
        raise RunError(
            f"{key}={shown(path)} must be a run with its checkpoints, and {shown(file)} is not there; restore it,"
            " or name another file"
        )
    return Origin(file=file, run_id=record.run_id, at=at, sha256=record.weights.get(at))


def digest(name: str) -> str:
    """Return the SHA-256 over the names, types, shapes and bytes of the tensors that `init_from` names.

    A run's record states it. Otherwise the file is read.

    Raises:
        UsageError, RunError: As in `find` and `read`.
    """
    origin = find(name)
    return origin.sha256 if origin.sha256 is not None else _seen(origin.file)[0]


def outline(name: str) -> Weights:
    """Return the shapes of the tensors that `init_from` names, on the meta device.

    Raises:
        UsageError, RunError: As in `read`.
    """
    origin = find(name)
    own, found = _seen(origin.file)
    _refuse_other(origin, own)
    return found


def _seen(file: Path) -> tuple[str, Weights]:
    """Return the digest of a file's tensors, and their shapes. It is read once as long as it stays the same."""
    try:
        told = file.stat()
    except OSError as error:
        raise RunError(f"init_from={shown(file)} cannot be read: {error.strerror}; name another") from error
    return _looked(file.absolute(), (told.st_ino, told.st_size, told.st_mtime_ns))


@functools.lru_cache(maxsize=64)  # many runs of a sweep have one source
def _looked(file: Path, state: tuple[int, ...]) -> tuple[str, Weights]:
    from imgrec import checkpoint

    found = _read(file)
    shapes = {key: value.to("meta") for key, value in found.tensors.items()}
    return checkpoint.digest(found.tensors), dataclasses.replace(found, tensors=shapes)


def _refuse_other(origin: Origin, own: str, key: str = KEY) -> None:
    """Refuse weights of a run's checkpoint that are not those of the run's record."""
    if origin.sha256 is not None and own != origin.sha256:
        raise RunError(
            f"{shown(origin.file)} must hold the weights that the record of its run names, {origin.sha256[:12]}..., got"
            f" {own[:12]}...; restore the run's own, or give {key}={shown(origin.file)} to take it as it is"
        )


def read(name: str, *, expected: str | None = None, key: str = KEY) -> Weights:
    """Return the tensors that `init_from` names.

    Args:
        name: The value of `init_from`.
        expected: The digest that the tensors must begin with; None for any.
        key: The key of the configuration that names it, for the refusals.

    Raises:
        UsageError: As in `find`.
        RunError: As in `find`, or the file is damaged, or its tensors have another digest.
    """
    from imgrec import checkpoint

    origin = find(name, key=key)
    found = _read(origin.file, key)
    own = checkpoint.digest(found.tensors)
    _refuse_other(origin, own, key)
    if expected is not None and not own.startswith(expected):
        raise RunError(
            f"{key}={shown(name)} must hold the weights that it held when the command began, {expected[:12]}...,"
            f" got {own[:12]}...; restore them, or start the same command again, which makes another run"
        )
    return found


def tell_other_splits(config: Config, found: Weights, fingerprint: str, *, key: str = KEY, named: str) -> None:
    """Warn if a network was trained on the same images, split otherwise: some of them may be held out now.

    Args:
        config: The configuration of the run that takes the weights.
        found: The weights.
        fingerprint: The fingerprint of the run's images.
        key: The key of the configuration that names the weights.
        named: Its value.
    """
    if found.config is None or found.fingerprint != fingerprint:
        return
    own, theirs = serialize.flat(config), found.config
    theirs = {**dict.fromkeys((key for key in NEWER_KEYS if key in own), 0), **theirs}
    both = [each for each in (*VALIDATION_KEYS, *TEST_KEYS) if each in theirs and each in own]
    others = [each for each in both if theirs[each] != own[each]]
    if others:
        there, here = (" ".join(f"{each}={rows[each]:g}" for each in others) for rows in (theirs, own))
        log.warning(
            "%s=%s was trained on these images with %s, and here is %s: some of the validation and test images may be"
            " among those that it was trained on; give the same",
            key,
            shown(named),
            there,
            here,
        )


def _read(file: Path, key: str = KEY) -> Weights:
    return _safe(file, key) if file.suffix == SAFE else _checkpoint(file, key)


def _checkpoint(file: Path, key: str) -> Weights:
    """Return the network of a checkpoint; with a moving average of the weights, the averaged ones."""
    from imgrec import checkpoint
    from imgrec.stored.meta import META, Meta

    state = checkpoint.load(file)
    if state.get(META) is None:
        raise RunError(
            f"{key}={shown(file)} must be a checkpoint that imgrec wrote, or a {SAFE} file, and is neither; write"
            f" its tensors with safetensors.torch.save_file(tensors, 'weights{SAFE}')"
        )
    meta = Meta.of(file, state)
    return Weights(
        tensors=checkpoint.of_layer(state["state_dict"], "network"),
        classes=meta.classes,
        config=meta.config,
        image_size=meta.image_size,
        channels=meta.channels,
        fingerprint=meta.fingerprint,
    )


def _safe(file: Path, key: str) -> Weights:
    """Return the tensors of a safetensors file.

    The names are those of the network alone (`conv1.weight`), of `Network` (`net.conv1.weight`, `mean`, `std`), or of a
    checkpoint (`network.net.conv1.weight`).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from imgrec import disk

    try:
        disk.opened(file).close()  # opening a pipe would block
        tensors = load_file(file)
    except SafetensorError as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{key}={shown(file)} must be a {SAFE} file, and is damaged or something else ({reason}); use an"
            " intact copy"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"{key}={shown(file)} cannot be read: {reason}; name a readable file") from error
    tensors = {key.removeprefix(_PREFIX): value for key, value in tensors.items()}
    if not any(key.startswith("net.") for key in tensors):
        tensors = {key if key in _CONSTANTS else f"net.{key}": value for key, value in tensors.items()}
    return Weights(tensors=tensors)


def told(name: str, sha256: str | None) -> dict[str, Any]:
    """Return what a record tells of the weights that the run begins with.

    Args:
        name: The value of `init_from`.
        sha256: The digest of the weights.
    """
    origin = find(name)
    rows = {"path": str(place(name).absolute()), "sha256": sha256, "run_id": origin.run_id, "at": origin.at}
    return {key: value for key, value in rows.items() if value is not None}


def settled(config: Config, record: Record) -> Config:
    """Return a run's configuration with the present place of its source, if that is named by a relative path."""
    known = record.init.get("path")
    if config.init_from is None or known is None or is_there(config.init_from) or not is_there(known):
        return config
    return serialize.from_flat({**serialize.flat(config), "init_from": known})
