"""Make a command's standard streams usable if they are closed, full, disconnected, or lack characters."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO, cast

from imgrec.errors import RunError


class _TolerantStream:
    """A stream that tolerates failing writes.

    For stdout (`results`) the first failure raises RunError, and a reader who has gone away raises BrokenPipeError. On
    stderr, text that cannot be written is lost and ends nothing: after its terminal was closed, a run continues, and
    has its train.log.
    """

    def __init__(self, stream: TextIO, *, results: bool) -> None:
        self._stream = stream
        self._results = results

    def write(self, text: str) -> int:
        with self._handled():
            return self._stream.write(text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._handled():
            self._stream.flush()

    @contextlib.contextmanager
    def _handled(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._results and isinstance(error, BrokenPipeError):
                raise
            if self._results:
                discard_stdout()
                raise RunError(
                    f"stdout must take the result, got: {error.strerror}; the work itself is done and kept: give the"
                    " same command again to see it, with room where stdout goes"
                ) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Make the command's streams usable during the block, in whatever state they were at the start."""
    for number in (0, 1, 2):
        _open(number)
    out = sys.stdout if sys.stdout is not None else os.fdopen(1, "w", closefd=False)
    err = sys.stderr if sys.stderr is not None else os.fdopen(2, "w", closefd=False)
    if hasattr(out, "reconfigure"):
        with contextlib.suppress(OSError):  # a pipe has replaced a file since the stream was opened
            out.reconfigure(errors="backslashreplace")  # for a class' name that the encoding lacks
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, _TolerantStream(out, results=True))
    sys.stderr = cast(TextIO, _TolerantStream(err, results=False))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home it prints where it stores its fonts
    _show_warnings()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def discard_stdout() -> None:
    """Silently discard what is still to be written to stdout, as no reader is left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _open(number: int) -> None:
    """Open a closed file descriptor on /dev/null.

    Otherwise the next file would get its number, and texts meant for it.
    """
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        os.set_inheritable(number, True)


def _show_warnings() -> None:
    """Show warnings under PYTHONWARNINGS=error. As errors they would prevent the import of the libraries."""
    if not any(option.partition(":")[0] == "error" for option in sys.warnoptions):
        return
    sys.warnoptions[:] = [option for option in sys.warnoptions if option.partition(":")[0] != "error"]
    os.environ["PYTHONWARNINGS"] = ",".join(sys.warnoptions)  # for the processes that this one starts
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)  # as by Python's default
