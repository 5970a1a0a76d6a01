"""Check that `best.ckpt` is the checkpoint that the run's states name, so that no other file is scored as the best."""

import contextlib
import logging
from pathlib import Path

from imgrec import checkpoint, folder_guard
from imgrec.checkpoint import BEST, LAST, PREVIOUS
from imgrec.errors import RunError
from imgrec.stored.best import Best
from imgrec.stored.resume_state import best_of

log = logging.getLogger(__name__)

ASIDE = "best.lost.ckpt"  # new name of a file that is not the run's best


def strange(path: Path, best: Best, sha256: str | None) -> str | None:
    """Return why the file is not this best; None if it is.

    Args:
        path: The file.
        best: The best epoch according to the run's states.
        sha256: The file's SHA-256; None if an older version did not store it. The file's own description of its best
            must then agree.
    """
    try:
        if sha256 is not None and checkpoint.file_digest(path) == sha256:
            return None
        state = checkpoint.load(path)
    except FileNotFoundError:
        return "is gone"
    except (RunError, OSError):
        return "is damaged" if path.exists() else "is gone"
    return None if sha256 is None and best_of(state) == best else "is of another run, or of another moment"


def restored(folder: Path, best: Best, step: int) -> bool:
    """Copy the best state from one of the generations to `best.ckpt`.

    Args:
        folder: The run's checkpoints.
        best: The best epoch.
        step: The step of `last`. The state of the best was saved as `last`, and may have become `previous`.

    Returns:
        True if a generation has the best state.
    """
    if best.step == step:
        checkpoint.link_or_copy(folder / LAST, folder / BEST)
        return True
    try:
        state = checkpoint.load(folder / PREVIOUS)
    except RunError:
        return False
    if state.get("global_step") != best.step or best_of(state) != best:
        return False
    checkpoint.link_or_copy(folder / PREVIOUS, folder / BEST)
    log.warning("%s is restored from %s", folder / BEST, PREVIOUS)
    return True


def put_aside(folder: Path) -> str:
    """Rename a file that is not the run's best, and return words that say where it is; "" if there is no file."""
    with contextlib.suppress(OSError):
        folder_guard.confirm(folder / BEST)
        (folder / f"{BEST}.sha256").unlink(missing_ok=True)
        (folder / BEST).replace(folder / ASIDE)
        return f"; it is kept as {folder / ASIDE}"
    return ""
