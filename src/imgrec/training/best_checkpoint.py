"""`best.ckpt`: whether it is the one that the run's states tell of; another one is never scored in its place."""

import contextlib
import logging
from pathlib import Path

from imgrec import checkpoint
from imgrec.checkpoint import BEST, LAST, PREVIOUS
from imgrec.errors import RunError
from imgrec.stored.best import Best
from imgrec.stored.resume_state import best_of

log = logging.getLogger(__name__)

ASIDE = "best.lost.ckpt"  # where another file than the run's best is moved to


def strange(path: Path, best: Best, sha256: str | None) -> str | None:
    """Why the file is not this best; None if it is.

    best: As the run's states have it. sha256: of the file; None where an older version did not note it, and what the
    file itself says of its best has to agree.
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
    """True if the state of the best is in one of the generations, and `best.ckpt` a copy of it now.

    step: where `last` is. The epoch's end that brought the best saved it as `last`, which may have become `previous`.
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
    """Move a file that is not the run's best out of the way, and say where it is; nothing where there is none."""
    with contextlib.suppress(OSError):
        (folder / f"{BEST}.sha256").unlink(missing_ok=True)
        (folder / BEST).replace(folder / ASIDE)
        return f"; it is kept as {folder / ASIDE}"
    return ""
