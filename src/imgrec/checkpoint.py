"""Durable save and verified load of a training state.

A checkpoint holds tensors and plain containers only, so that it loads with weights_only=True: nothing in it is ever
executed. Beside each file lies its SHA-256. A save writes a temporary file in the same folder, forces it to disk and
renames it, so that a crash at any moment leaves at least one whole generation: `last.ckpt`, else `previous.ckpt`.
"""

import hashlib
import logging
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch

from imgrec import disk
from imgrec.errors import RunError

log = logging.getLogger(__name__)

_MOST_NOTE = 10_000  # bytes of a .sha256
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


def save(state: Mapping[str, Any], path: Path) -> None:
    """Write `state` to `path` so that a crash at any moment leaves the old file or the new one, whole.

    Raises RunError with the reason (disk full, read-only); the files that were there stay.
    """
    hashing: _HashingFile | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.Partial(path) as new:
            hashing = _HashingFile(new.file)
            torch.save(dict(state), cast(IO[bytes], hashing))  # it needs write and flush alone
            new.sync()
            _place(new, path, hashing.hexdigest())
    except (OSError, RuntimeError) as error:
        # of a refused write PyTorch's writer says only that the file ends too early
        cause = hashing.refusal if hashing is not None and hashing.refusal is not None else error
        raise RunError(
            f"{path} cannot be saved: {_reason(cause)}; the checkpoints saved before it are whole, free the disk and"
            " start the same command again"
        ) from cause


def check_plain(state: object, what: str) -> None:
    """Refuse a state that could be saved and never be loaded again, as loading makes no objects.

    Args:
        state: What a callback wants to store.
        what: Whose it is, for the refusal.

    Raises:
        RunError: Something in it is no number, text, tensor or plain container of such.
    """
    if isinstance(state, dict):
        inner = [*state.keys(), *state.values()]
    elif isinstance(state, (list, tuple, set)):
        inner = list(state)
    elif state is None or isinstance(state, (bool, int, float, str, bytes, torch.Tensor)):
        return
    else:
        inner = []
    if type(state) not in (dict, list, tuple, set, OrderedDict):
        raise RunError(
            f"{what} must have a state of numbers, texts, tensors and plain containers, got"
            f" {type(state).__module__}.{type(state).__name__}; change its state_dict()"
        )
    for value in inner:
        check_plain(value, what)


def save_generation(state: Mapping[str, Any], folder: Path) -> None:
    """Save `state` as `last.ckpt`, after keeping the `last.ckpt` that was there as `previous.ckpt`."""
    if (folder / LAST).exists():
        link_or_copy(folder / LAST, folder / PREVIOUS)
    save(state, folder / LAST)


def link_or_copy(source: Path, target: Path) -> str:
    """Let `target` be the same file as `source`: a hard link, as no checkpoint is ever changed in place.

    Returns its SHA-256 as it is stated beside it.
    """
    try:
        with disk.Partial(target, like=source) as new:
            stated = _stated_digest(source) or file_digest(source)
            _place(new, target, stated)
            return stated
    except OSError as error:
        raise RunError(f"{target} cannot be saved: {_reason(error)}; {source} is whole, free the disk") from error


def load(path: Path) -> dict[str, Any]:
    """The state in that file, on the CPU, after its SHA-256 was compared.

    Without a .sha256 beside it the file loads with a warning. Raises RunError for a wrong one, a damaged file, and a
    file that would need unpickling.
    """
    try:
        disk.opened(path).close()  # a pipe would be waited for
        stated = _stated_digest(path)
        if stated is None:
            log.warning("%s has no .sha256 beside it: loaded unverified", path)
        elif (found := file_digest(path)) != stated:
            raise RunError(
                f"{path} must have the SHA-256 in {path.name}.sha256, {stated[:12]}..., got {found[:12]}...: truncated"
                " or changed; use an intact copy, or the run's previous.ckpt"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign file PyTorch warns before it refuses
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist; name a run's folder or a checkpoint file") from error
    except OSError as error:
        if error.filename is None:  # no file refused: the reader jumped beyond the end of one that is cut short
            raise _damaged(path, error) from error
        raise RunError(f"{error.filename} cannot be read: {_reason(error)}; name a readable checkpoint file") from error
    except RunError:
        raise
    except Exception as error:  # a damaged file makes the reader stumble in any way, TypeError and IndexError included
        raise _damaged(path, error) from error
    if not isinstance(state, dict):
        raise RunError(f"{path} must hold a training state, got a {type(state).__name__}; name a checkpoint of imgrec")
    return state


def unverified(folder: Path) -> Path | None:
    """The newest checkpoint of a folder, if no digest lies beside it; None where one does, or without a checkpoint."""
    path = next((folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()), None)
    return None if path is None or path.with_name(f"{path.name}.sha256").exists() else path


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in order of name: what bit-equal weights means."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def snapshot(value: Any) -> Any:
    """The state as it is now, on the CPU, whatever the training does next to its tensors."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        copied: Any = type(value)((key, snapshot(inner)) for key, inner in value.items())
        if hasattr(value, "_metadata"):  # the versions of a state_dict's modules
            copied._metadata = value._metadata
        return copied
    if isinstance(value, (list, tuple)):
        return type(value)(snapshot(inner) for inner in value)
    return value


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole generation in a run's checkpoints folder, and its state; None when it holds none at all.

    A damaged `last.ckpt` is passed over with a loud line. Raises RunError when there are files but none is whole.
    """
    present = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in present:
        try:
            state = load(path)
        except RunError as error:
            log.error("%s", error)
            continue
        if path.name == PREVIOUS and len(present) > 1:
            log.error("going back to %s: the newer checkpoint is damaged", path)
        return path, state
    if present:
        raise RunError(f"{folder} holds no whole checkpoint; restore one, or remove {folder} to start over")
    return None


class _HashingFile:
    """A file to write to, which hashes the bytes as they pass. refusal: why a write failed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.refusal: OSError | None = None

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.refusal = error
            raise

    def flush(self) -> None:
        self._file.flush()

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(
        f"{path} must be a checkpoint of tensors and plain containers, and it is damaged or something else"
        f" ({type(error).__name__}); use an intact copy, or the run's previous.ckpt"
    )


def _place(new: disk.Partial, path: Path, digest: str) -> None:
    """Put a finished temporary file into its place, and its SHA-256 beside it.

    The old .sha256 goes first: between the steps the file is unverified, never verified wrongly.
    """
    beside = path.with_name(f"{path.name}.sha256")
    beside.unlink(missing_ok=True)
    new.place()
    with disk.Partial(beside) as note:
        note.file.write(f"{digest}  {path.name}\n".encode("ascii"))  # the format of sha256sum -c
        note.place()


def _stated_digest(path: Path) -> str | None:
    beside = path.with_name(f"{path.name}.sha256")
    try:
        return disk.content(beside, most=_MOST_NOTE).decode("ascii").split()[0]
    except FileNotFoundError:
        return None
    except (IndexError, UnicodeDecodeError) as error:
        raise RunError(f"{beside} must hold a SHA-256; delete it to load the checkpoint unverified") from error


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, as the .sha256 beside it states it."""
    with disk.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
