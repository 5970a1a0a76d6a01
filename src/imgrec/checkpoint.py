"""Save training states durably, and load them after verification.

A checkpoint contains only tensors and plain containers, so that it loads with weights_only=True and never executes
code. A file with its SHA-256 is stored next to it. A save writes a temporary file in the same folder, forces it to disk
and renames it. A crash at any moment therefore leaves at least one complete generation: `last.ckpt`, else
`previous.ckpt`.
"""

import hashlib
import logging
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch

from imgrec import disk, folder_guard
from imgrec.errors import LostFolderError, RunError

log = logging.getLogger(__name__)

_MOST_NOTE = 10_000  # bytes of a .sha256 file
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


def save(state: Mapping[str, Any], path: Path) -> None:
    """Write `state` to `path`. A crash at any moment leaves either the old file or the new one, complete.

    Raises:
        RunError: The file cannot be written (disk full, read-only). The old files stay.
        LostFolderError: Another process holds the run's folder now.
    """
    hashing: _HashingFile | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.Partial(path) as new:
            hashing = _HashingFile(new.file)
            torch.save(dict(state), cast(IO[bytes], hashing))  # it needs only write and flush
            new.sync()
            _place(new, path, hashing.hexdigest())
    except LostFolderError:
        raise
    except (OSError, RuntimeError) as error:
        # after a failed write, PyTorch's writer says only that the file ends too early
        cause = hashing.refusal if hashing is not None and hashing.refusal is not None else error
        raise RunError(
            f"{path} cannot be saved: {_reason(cause)}; the checkpoints saved before it are whole, free the disk and"
            " start the same command again"
        ) from cause


def check_plain(state: object, what: str, *, mend: str = "its state_dict()") -> None:
    """Refuse a state that could be saved but not loaded, as loading creates no objects.

    Args:
        state: The state of a callback.
        what: The name of the callback, for the error message.
        mend: What must be changed, for the error message.

    Raises:
        RunError: The state contains anything else than numbers, texts, tensors and plain containers.
    """
    if isinstance(state, dict):
        inner = [*state.keys(), *state.values()]
    elif isinstance(state, (list, tuple, set)):
        inner = list(state)
    elif state is None or isinstance(state, (bool, int, float, str, bytes, torch.Tensor)):
        return
    else:
        inner = []
    if type(state) not in (dict, list, tuple, set, OrderedDict, torch.Size):
        raise RunError(
            f"{what} must have a state of numbers, texts, tensors and plain containers, got"
            f" {type(state).__module__}.{type(state).__name__}; change {mend}"
        )
    for value in inner:
        check_plain(value, what, mend=mend)


def save_generation(state: Mapping[str, Any], folder: Path) -> None:
    """Save `state` as `last.ckpt`, and keep the old `last.ckpt` as `previous.ckpt`."""
    if (folder / LAST).exists():
        link_or_copy(folder / LAST, folder / PREVIOUS)
    save(state, folder / LAST)


def link_or_copy(source: Path, target: Path) -> str:
    """Make `target` a hard link to `source`, or a copy. A link is safe, as checkpoints are never changed in place.

    Returns:
        The file's SHA-256, from the file next to it.
    """
    try:
        with disk.Partial(target, like=source) as new:
            stated = _stated_digest(source) or file_digest(source)
            _place(new, target, stated)
            return stated
    except OSError as error:
        raise RunError(f"{target} cannot be saved: {_reason(error)}; {source} is whole, free the disk") from error


def load(path: Path) -> dict[str, Any]:
    """Return the state in a file, on the CPU, after verifying its SHA-256.

    A file without a .sha256 loads with a warning.

    Raises:
        RunError: The SHA-256 differs, the file is damaged, or it would need unpickling.
    """
    try:
        disk.opened(path).close()  # opening a pipe would block
        stated = _stated_digest(path)
        if stated is None:
            log.warning("%s has no .sha256 beside it: loaded unverified", path)
        elif (found := file_digest(path)) != stated:
            raise RunError(
                f"{path} must have the SHA-256 in {path.name}.sha256, {stated[:12]}..., got {found[:12]}...: truncated"
                " or changed; use an intact copy, or the run's previous.ckpt"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of a foreign file before it refuses it
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist; name a run's folder or a checkpoint file") from error
    except OSError as error:
        if error.filename is None:  # raised for a seek beyond the end of a truncated file
            raise _damaged(path, error) from error
        raise RunError(f"{error.filename} cannot be read: {_reason(error)}; name a readable checkpoint file") from error
    except RunError:
        raise
    except Exception as error:  # a damaged file may raise any exception, TypeError and IndexError included
        raise _damaged(path, error) from error
    if not isinstance(state, dict):
        raise RunError(f"{path} must hold a training state, got a {type(state).__name__}; name a checkpoint of imgrec")
    return state


def unverified(folder: Path) -> Path | None:
    """Return the newest checkpoint of a folder if it has no digest; None if it has one, or there is no checkpoint."""
    path = next((folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()), None)
    return None if path is None or path.with_name(f"{path.name}.sha256").exists() else path


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes, in order of name; equal for bit-equal weights."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def of_layer(state_dict: Mapping[str, torch.Tensor], layer: str) -> OrderedDict[str, torch.Tensor]:
    """Return the state of one layer, by the layer's own names, with the versions of the layers in it.

    Some layers read their version when they are loaded, as torchvision's MNASNet does, and refuse a state without one.

    Args:
        state_dict: The state of a module.
        layer: The layer's name in it, such as `network`.
    """
    prefix = f"{layer}."
    found = OrderedDict(
        (name.removeprefix(prefix), value) for name, value in state_dict.items() if name.startswith(prefix)
    )
    versions = {f"{name}.": version for name, version in getattr(state_dict, "_metadata", {}).items()}
    found._metadata = OrderedDict(  # type: ignore[attr-defined]
        (name.removeprefix(prefix).removesuffix("."), version)
        for name, version in versions.items()
        if name.startswith(prefix)
    )
    return found


def with_versions(state_dict: Mapping[str, torch.Tensor], *, of: torch.nn.Module) -> OrderedDict[str, torch.Tensor]:
    """Return the state with the versions that the layers of a module have here.

    Args:
        state_dict: The state of such a module, which may lack its versions.
        of: The module.
    """
    found = OrderedDict(state_dict)
    found._metadata = of.state_dict()._metadata  # type: ignore[attr-defined]
    return found


def snapshot(value: Any) -> Any:
    """Return a copy of the state on the CPU, which later training steps do not change."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        copied: Any = type(value)((key, snapshot(inner)) for key, inner in value.items())
        if hasattr(value, "_metadata"):  # the versions of the modules of a state_dict
            copied._metadata = value._metadata
        return copied
    if isinstance(value, (list, tuple)):
        return type(value)(snapshot(inner) for inner in value)
    return value


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest complete generation in a run's checkpoints folder, with its state; None if there are no files.

    A damaged `last.ckpt` is skipped with a warning.

    Raises:
        RunError: There are files, but none is complete.
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
    """A file that hashes the bytes that are written to it.

    Attributes:
        refusal: The error of a failed write.
    """

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
    """Move a finished temporary file to its place, and write its SHA-256 next to it.

    The old .sha256 is removed first. Between the steps the file has no digest, but never a wrong one.
    """
    beside = path.with_name(f"{path.name}.sha256")
    folder_guard.confirm(path)
    beside.unlink(missing_ok=True)
    new.place()
    with disk.Partial(beside) as note:
        note.file.write(f"{digest}  {path.name}\n".encode("ascii"))  # the format that sha256sum -c reads
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
    """Return the SHA-256 of the file's bytes, as the .sha256 file states it."""
    with disk.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
