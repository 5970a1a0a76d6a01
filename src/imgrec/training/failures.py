"""Turn what ended a run into one sentence: missing memory, a disk that refuses, a state of unknown origin."""

from pathlib import Path

from imgrec import checkpoint, runfolder, text_files
from imgrec.errors import RunError, UsageError
from imgrec.training.fitting import NO_MEMORY


def _saved_since(folder: Path, foreign: Path) -> bool:
    """Return True if the run has saved a state of its own since it continued from that one."""
    newest = runfolder.newest_state(folder)
    return newest is not None and foreign.exists() and checkpoint.file_digest(foreign) not in newest


def explained(error: BaseException, folder: Path, foreign: Path | None) -> BaseException:
    """Return the error as one sentence, if the disk (of a log, a curve, an event file) or missing memory is the cause.

    Args:
        error: The error.
        folder: The run's folder.
        foreign: A state of unknown origin that the run continued from, whose contents may cause any error.
    """
    if isinstance(error, MemoryError) or any(said in str(error) for said in NO_MEMORY):
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        return RunError(
            f"there must be memory for the network and a batch, got: {reason}; lower data.batch_size"
            " (trainer.accumulate makes up for it), data.eval_batch_size, data.image_size or the model's widths"
        )
    if isinstance(error, SystemExit):
        return RunError(f"a run must end by returning or raising, and something in it called sys.exit({error.code!r})")
    if not isinstance(error, OSError):
        if foreign is None or isinstance(error, (RunError, UsageError)) or _saved_since(folder, foreign):
            return error
        return RunError(
            f"{foreign} has no .sha256 beside it, and no run could go on from what it holds, got:"
            f" {text_files.reason(error)}; restore the run's own, or start over in another folder"
        )
    if isinstance(error.__context__, RunError):  # a logger that failed when it was closed; the first error counts
        return error.__context__
    return RunError(
        f"{error.filename or folder} cannot be written or read: {error.strerror or error}; free the disk, or mend what"
        " the reason says, and start the same command again: it goes on from its last checkpoint"
    )
