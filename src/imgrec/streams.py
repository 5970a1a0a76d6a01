"""The standard streams of a command where they are closed, full, gone, or of an encoding that lacks characters."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO, cast

from imgrec.errors import RunError


class _Lasting:
    """A stream that may stop to take what is written.

    results: of stdout, which says so once, by RunError; a reader who has gone away stays a BrokenPipeError. What
    stderr does not take is lost, and ends nothing: on a terminal that was closed a run goes on, and has its train.log.
    """

    def __init__(self, stream: TextIO, *, results: bool) -> None:
        self._stream = stream
        self._results = results

    def write(self, text: str) -> int:
        with self._tried():
            return self._stream.write(text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._tried():
            self._stream.flush()

    @contextlib.contextmanager
    def _tried(self) -> Iterator[None]:
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
    """Let the command's streams be usable while the block runs, whatever they were started as."""
    for number in (0, 1, 2):
        _open(number)
    out = sys.stdout if sys.stdout is not None else os.fdopen(1, "w", closefd=False)
    err = sys.stderr if sys.stderr is not None else os.fdopen(2, "w", closefd=False)
    if hasattr(out, "reconfigure"):
        with contextlib.suppress(OSError):  # a pipe has taken a file's place since the stream was opened
            out.reconfigure(errors="backslashreplace")  # a class' name that the terminal's encoding lacks
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, _Lasting(out, results=True))
    sys.stderr = cast(TextIO, _Lasting(err, results=False))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home it tells where it keeps its fonts instead
    _keep_warnings_warnings()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def discard_stdout() -> None:
    """Let what is still to be written to stdout go nowhere, without a word: nobody can read it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _open(number: int) -> None:
    """Open the file descriptor on nothing where it is closed: the next file would get its number, and its texts."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        os.set_inheritable(number, True)


def _keep_warnings_warnings() -> None:
    """With PYTHONWARNINGS=error the libraries underneath would not even be imported: show such warnings instead."""
    if not any(option.partition(":")[0] == "error" for option in sys.warnoptions):
        return
    sys.warnoptions[:] = [option for option in sys.warnoptions if option.partition(":")[0] != "error"]
    os.environ["PYTHONWARNINGS"] = ",".join(sys.warnoptions)  # for the processes that this one starts
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)  # as Python itself begins
