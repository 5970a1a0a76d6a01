"""What a run says: on stderr and in its train.log, beside the log of the program around it. Imports no torch."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from imgrec.errors import RunError
from imgrec.untrusted_text import Formatter

LOG = "train.log"
_LEVELS = {
    "imgrec": logging.INFO,
    "matplotlib": logging.ERROR,  # it warns when it looks for fonts, or has no folder to keep what it found
}
_DATED = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Console(logging.StreamHandler[TextIO]):
    """What imgrec says on the sys.stderr of the moment: a live view puts an object there that writes above it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(Formatter("%(message)s"))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The stream of this moment, as in logging's own handler of last resort."""
        return sys.stderr


@contextlib.contextmanager
def kept(folder: Path, *, quiet: bool = False, verbose: bool | Sequence[str] = False) -> Iterator[None]:
    """While the block runs, what imgrec says also goes to stderr and to the train.log in `folder`.

    quiet: into the file alone, and nothing to the terminal. verbose: everything that is said at all, or what loggers of
    these names say. Handlers and levels are as before afterwards.
    """
    file = logging.FileHandler(folder / LOG, delay=True, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter(_DATED))
    levels = dict.fromkeys([""] if verbose is True else verbose or [], logging.DEBUG)
    hidden = contextlib.nullcontext() if not quiet else _without_terminal()
    with _levels({**_LEVELS, **levels}), hidden:
        logging.root.addHandler(file)
        try:
            with contextlib.nullcontext() if quiet else shown():
                yield
        except Exception as error:
            with contextlib.suppress(OSError):  # the folder may be gone, and its train.log with it
                file.handle(_traceback(error))  # into train.log alone
            raise
        finally:
            logging.root.removeHandler(file)
            with contextlib.suppress(OSError):  # a full disk refuses the last lines; the run's own reason counts
                file.close()


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """While the block runs, what imgrec says goes to stderr, if the program around it does not show it already."""
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
    """Raise RunError for a folder or log that cannot be written, and print no traceback for each lost line of a log."""
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
    """Loggers of these names tell what has these levels while the block runs."""
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
    """No log is shown on the terminal while the block runs."""
    before = list(logging.root.handlers)
    logging.root.handlers = [handler for handler in before if not _is_shown(handler)]
    try:
        yield
    finally:
        logging.root.handlers = before


def _is_shown(handler: logging.Handler) -> bool:
    """Return True if the handler writes to the terminal, or to what stands for it."""
    shown = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return isinstance(handler, _Console) or (
        isinstance(handler, logging.StreamHandler) and any(handler.stream is stream for stream in shown if stream)
    )


def _traceback(error: Exception) -> logging.LogRecord:
    told = (type(error), error, error.__traceback__)
    return logging.LogRecord("imgrec", logging.DEBUG, __file__, 0, "the run failed", (), told)
