"""Write a run's messages to stderr and to its train.log, beside the host program's own log. Imports no torch."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from imgrec import folder_guard
from imgrec.errors import LostFolderError, RunError
from imgrec.untrusted_text import Formatter

LOG = "train.log"
_LEVELS = {
    "imgrec": logging.INFO,
    "matplotlib": logging.ERROR,  # it warns when it searches fonts, or has no folder for its cache
}
_DATED = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Console(logging.StreamHandler[TextIO]):
    """Writes imgrec's messages to the present sys.stderr.

    A live view replaces sys.stderr by an object that writes above the view.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(Formatter("%(message)s"))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The present stream, as in logging's handler of last resort."""
        return sys.stderr


class _File(logging.FileHandler):
    """Writes messages to a run's train.log, as long as the run's folder is this process' own."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, delay=True, encoding="utf-8", errors="backslashreplace")
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with contextlib.suppress(OSError):  # to write the message says more
                folder_guard.confirm(self._path)
        except LostFolderError:
            return
        super().emit(record)


@contextlib.contextmanager
def kept(folder: Path, *, quiet: bool = False, verbose: bool | Sequence[str] = False) -> Iterator[None]:
    """Write imgrec's messages to stderr and to the train.log in `folder` during the block.

    Handlers and levels are restored afterwards.

    Args:
        folder: The run's folder.
        quiet: True to write to the file only.
        verbose: True for all log messages, or the names of loggers whose messages are all written.
    """
    file = _File(folder / LOG)
    file.setFormatter(logging.Formatter(_DATED))
    levels = dict.fromkeys([""] if verbose is True else verbose or [], logging.DEBUG)
    hidden = contextlib.nullcontext() if not quiet else _without_terminal()
    with _levels({**_LEVELS, **levels}), hidden:
        logging.root.addHandler(file)
        try:
            with contextlib.nullcontext() if quiet else shown():
                yield
        except Exception as error:
            if not isinstance(error, LostFolderError):  # train.log is another process' own now
                with contextlib.suppress(OSError):  # the folder and its train.log may be gone
                    file.handle(_traceback(error))  # only into train.log
            raise
        finally:
            logging.root.removeHandler(file)
            with contextlib.suppress(OSError):  # a full disk refuses the last lines; the run's own error matters more
                file.close()


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Write imgrec's messages to stderr during the block, unless the host program already shows them."""
    if any(map(_is_shown, logging.root.handlers)):
        yield
        return
    console = _Console()
    with _levels({"imgrec": logging.INFO}):
        logging.root.addHandler(console)
        try:
            yield
        finally:
            logging.root.removeHandler(console)


@contextlib.contextmanager
def refusing_disk() -> Iterator[None]:
    """Raise RunError for a folder or log that cannot be written. No traceback is printed for lost lines of a log."""
    noisy = logging.raiseExceptions
    logging.raiseExceptions = False
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{error.filename or 'the output folder'} cannot be written: {error.strerror}; free the disk, or give"
            " another hydra.run.dir (with -m: hydra.sweep.dir)"
        ) from error
    finally:
        logging.raiseExceptions = noisy


@contextlib.contextmanager
def _levels(levels: Mapping[str, int]) -> Iterator[None]:
    """Set the levels of these loggers during the block."""
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _without_terminal() -> Iterator[None]:
    """Show no log on the terminal during the block."""
    before = list(logging.root.handlers)
    logging.root.handlers = [handler for handler in before if not _is_shown(handler)]
    try:
        yield
    finally:
        logging.root.handlers = before


def _is_shown(handler: logging.Handler) -> bool:
    """Return True if the handler writes to the terminal, or to a stream that replaces it."""
    shown = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return isinstance(handler, _Console) or (
        isinstance(handler, logging.StreamHandler) and any(handler.stream is stream for stream in shown if stream)
    )


def _traceback(error: Exception) -> logging.LogRecord:
    told = (type(error), error, error.__traceback__)
    return logging.LogRecord("imgrec", logging.DEBUG, __file__, 0, "the run failed", (), told)
