"""Turn what ended a run into a sentence: a broken GPU, missing memory, a full disk, an outside component, a state."""

import errno
from pathlib import Path

from imgrec import checkpoint, gpus, runfolder, text_files
from imgrec.config import outside_errors
from imgrec.errors import BrokenGpuError, RunError, UsageError
from imgrec.training.state_errors import NO_MEMORY

_OF_CODE = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # raised for a wrong path, not for a full or lost disk


def _saved_since(folder: Path, foreign: Path) -> bool:
    """Return True if the run has saved a state of its own since it continued from that one."""
    newest = runfolder.newest_state(folder)
    return newest is not None and foreign.exists() and checkpoint.file_digest(foreign) not in newest


def explained(error: BaseException, folder: Path, foreign: Path | None, *, shared: int = 1) -> BaseException:
    """Return the error as one sentence where its cause is known, else as it is.

    Causes are a broken GPU, the disk (of a log, a curve, an event file), missing memory, and the code of a component
    from outside.

    Args:
        error: The error.
        folder: The run's folder.
        foreign: A state of unknown origin that the run continued from, whose contents may cause any error.
        shared: The number of runs at a time that share the GPU.
    """
    if isinstance(error, BrokenGpuError):
        return error
    if (reason := gpus.broken(error)) is not None:
        return BrokenGpuError(
            reason,
            way_out="the run has not failed: once the GPU works, or on another one (CUDA_VISIBLE_DEVICES), the same"
            f" command {runfolder.ahead(folder)}",
        )
    if isinstance(error, MemoryError) or any(said in str(error) for said in NO_MEMORY):
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        fewer = f", or launcher.per_gpu, as {shared} runs at a time share the GPU" if shared > 1 else ""
        return RunError(
            f"there must be memory for the network and a batch, got: {reason}; lower data.batch_size"
            " (trainer.accumulate makes up for it), data.eval_batch_size, data.image_size or the model's widths"
            f"{fewer}"
        )
    if isinstance(error, SystemExit):
        what = outside_errors.origin_of(error) or "something in it"
        return RunError(f"a run must end by returning or raising, and {what} called sys.exit({error.code!r}); mend it")
    if not isinstance(error, OSError):
        if foreign is None or isinstance(error, (RunError, UsageError)) or _saved_since(folder, foreign):
            return outside_errors.explained(error) or error
        return RunError(
            f"{foreign} has no .sha256 beside it, and no run could go on from what it holds, got:"
            f" {text_files.reason(error)}; restore the run's own, or start over in another folder"
        )
    if isinstance(error.__context__, RunError):  # a logger that failed when it was closed; the first error counts
        return error.__context__
    if error.errno in _OF_CODE and (told := outside_errors.explained(error)) is not None:
        return told
    return RunError(
        f"{error.filename or folder} cannot be written or read: {error.strerror or error}; free the disk, or mend what"
        f" the reason says; the run is left as it is, and the same command {runfolder.ahead(folder)}"
    )
