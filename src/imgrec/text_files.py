"""Read and write JSON and other text files: safely in untrusted folders, and completely or not at all."""

import json
import math
from pathlib import Path
from typing import Any

from imgrec import disk
from imgrec.errors import RunError, UsageError, shown

_MOST = 2**26  # most bytes of a record or an evaluation: a thousand times the usual size
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError)


def read_json(path: Path, *, most: int = _MOST) -> Any:
    """Return the content of a JSON file of at most `most` bytes.

    Raises:
        OSError: It cannot be read, or is larger.
        ValueError: It is no JSON.
        RecursionError: It is nested too deeply.
    """
    text = disk.content(path, most=most).decode("utf-8", errors="surrogateescape")
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word}, which is no JSON")


def reason(error: BaseException) -> str:
    """Return the reason of an error, for a sentence about a file."""
    if isinstance(error, KeyError):
        return f"no {error}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def write_json(path: Path, rows: Any) -> None:
    """Write JSON that is readable and complete at every moment: a temporary file beside it, fsync, then one rename.

    Numbers that are not finite become null, as JSON has no such numbers.
    """
    write_text(path, json.dumps(_finite(rows), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace the file's text in one step.

    Raises:
        RunError: The disk refuses; the old file stays.
    """
    write_bytes(path, _encoded(text))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a path in the command may contain bytes that are not UTF-8


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file in one step.

    Raises:
        RunError: The disk refuses; the old file stays.
    """
    try:
        with disk.Partial(path) as new:
            new.file.write(content)
            new.place()
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; free the disk or set hydra.run.dir") from error


def write_result(path: Path, result: str | bytes) -> None:
    """Write a result to the path that the command names.

    A file is written completely or not at all, and its folder is created. A pipe or device is written to directly.

    Raises:
        UsageError: The path is a folder.
        RunError: It cannot be written.
    """
    content = _encoded(result) if isinstance(result, str) else result
    try:
        if path.is_dir():
            raise UsageError(f"{shown(path)} must be a file to write, and is a folder; name a file in it")
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = path.resolve()  # a link is kept; its target is replaced
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, content)
    except (OSError, RunError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else error
        raise RunError(f"{shown(path)} cannot be written: {reason}; give another -o, or free the disk") from error


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
