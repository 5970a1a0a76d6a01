"""Tell a checkpoint whose values nothing can go on from by the error of its first step."""

import traceback
from collections.abc import Collection
from pathlib import Path

from imgrec.config import outside_errors
from imgrec.errors import RunError, UsageError
from imgrec.process_ends import BrokenConnectionError

# parts of PyTorch's messages, on the CPU, on a GPU, and of cuDNN and cuBLAS (CUDNN_STATUS_ALLOC_FAILED)
NO_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")

# The errors that values of another type, name or shape cause.
_OF_VALUES = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError, ArithmeticError)


def refused(error: Exception, resumed: Path, *, callbacks: Collection[str]) -> RunError | None:
    """Return the error for a checkpoint whose values Lightning or PyTorch cannot use; None for another cause.

    Args:
        error: What ended the training before its first step from the checkpoint.
        resumed: The checkpoint.
        callbacks: The modules of the configuration's callbacks. Where one failed, the state is as good as it was.
    """
    if not isinstance(error, _OF_VALUES):
        return None
    if isinstance(error, (RunError, UsageError, BrokenConnectionError)) or any(
        said in str(error) for said in NO_MEMORY
    ):
        return None
    if any(frame.f_globals.get("__name__") in callbacks for frame, _ in traceback.walk_tb(error.__traceback__)):
        return None
    if outside_errors.origin_of(error) is not None:  # another component from outside failed
        return None
    reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split()) or "no reason"
    return RunError(
        f"{resumed} must hold a state that the run can go on from, and its first step from there ended with:"
        f" {reason}; restore the run's own checkpoint, or start over in another folder (IMGREC_DEBUG=1 shows where)"
    )
