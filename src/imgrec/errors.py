"""Define the exceptions that a command can end with. A refusal is one sentence: key or file, rule, value, advice."""

import os
import signal
from pathlib import Path

StrPath = str | os.PathLike[str]
"""A path as a caller gives it."""


class RefusalError(Exception):
    """A refusal in one sentence.

    Args:
        reason: What is wrong; or the whole sentence, if its parts are not needed.
        way_out: The advice, which follows the reason in the sentence after a semicolon.
    """

    def __init__(self, reason: str, *, way_out: str | None = None) -> None:
        super().__init__(reason if way_out is None else f"{reason}; {way_out}")
        self.reason = reason
        self.way_out = way_out


class UsageError(RefusalError, ValueError):
    """The request is wrong (a key, a value, a name): exit code 2."""


class RunError(RefusalError, RuntimeError):
    """The request is valid, but cannot be carried out here (a file, the network, the disk): exit code 1."""


class BrokenGpuError(RunError):
    """A GPU cannot be used, whatever the run does. The run itself has not failed: the same command goes on with it."""


class LostFolderError(RunError):
    """Another process holds the folder that this one held. This one must not change anything there any more."""


class Interrupted(BaseException):
    """The run was asked to end.

    Attributes:
        exit_code: 128 + the signal's number, as in shells.
        resumable: True if the same command continues the run.
        saved: True if the run has a checkpoint, False if the same command begins it again; None where no single run was
            interrupted, as in a sweep.
        requeued: True once SLURM was asked to start the job again.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum
        self.resumable = True
        self.saved: bool | None = None
        self.requeued = False


class LostProcess(Interrupted):
    """Another process of a distributed run was killed, so that this one cannot go on.

    Nothing is saved at that moment. The same command goes on from the run's last checkpoint, if it has one.

    Args:
        signum: The signal that ended the process.
        reason: Which process, how it ended, and where its log is, in a sentence.
    """

    def __init__(self, signum: int, reason: str) -> None:
        super().__init__(signum)
        self.args = (reason,)


def interruption_in(error: BaseException) -> Interrupted | None:
    """Return the interruption that caused this error or is it; None if there was none.

    A signal may arrive in a library's code, which may then raise its own error.
    """
    ahead, seen = [error], set[int]()
    while ahead:
        found = ahead.pop()
        if isinstance(found, Interrupted):
            return found
        if id(found) not in seen:  # a chain may be a cycle, as in OmegaConf
            seen.add(id(found))
            ahead += [link for link in (found.__context__, found.__cause__) if link is not None]
    return None


def shown(name: str | Path) -> str:
    """Return the name of a file or class for a sentence: as it is, or quoted with escapes if it is no plain text.

    Names may contain any byte but a slash and NUL: line breaks, quotes, and bytes that are no character (surrogates in
    Python).
    """
    text = str(name)
    plain = text.isprintable() and text == text.strip() and not set(text) & set("'\"\\")
    return text if plain else repr(text)


def done_over(*, named: bool) -> str:
    """Return words that say how to repeat a finished run.

    Args:
        named: True if the command names the run's folder.
    """
    return "another hydra.run.dir does it over" if named else "force=true does it over, in a new folder"


def sentence(error: BaseException) -> str:
    """Return the error on one line: a refusal as it is, another error with its class."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (UsageError, RunError)) else f"{type(error).__name__}: {text}"
