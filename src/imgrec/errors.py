"""How a command ends other than well. A refusal is one sentence that gives key or file, rule, value and way out."""

import os
import signal
from pathlib import Path

StrPath = str | os.PathLike[str]
"""A path as a caller gives it."""


class RefusalError(Exception):
    """A refusal in one sentence.

    Args:
        reason: What is wrong; or the whole sentence, where nobody asks for its parts.
        way_out: What to do about it. It follows the reason in the sentence, after a semicolon.
    """

    def __init__(self, reason: str, *, way_out: str | None = None) -> None:
        super().__init__(reason if way_out is None else f"{reason}; {way_out}")
        self.reason = reason
        self.way_out = way_out


class UsageError(RefusalError, ValueError):
    """The request itself is wrong (a key, a value, a name): exit code 2."""


class RunError(RefusalError, RuntimeError):
    """The request is fine, but it cannot be carried out here (a file, the network, the disk): exit code 1."""


class Interrupted(BaseException):
    """The run was asked to end. exit_code: 128 + the signal's number, as shells count.

    resumable: the same command goes on with it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum
        self.resumable = True


def interruption_in(error: BaseException) -> Interrupted | None:
    """The interruption that ended in this error, or is it; None where there was none.

    A signal comes in the middle of any code, a library's too, which may then end in an error of its own.
    """
    ahead, seen = [error], set[int]()
    while ahead:
        found = ahead.pop()
        if isinstance(found, Interrupted):
            return found
        if id(found) not in seen:  # chains may end in themselves, as OmegaConf's do
            seen.add(id(found))
            ahead += [link for link in (found.__context__, found.__cause__) if link is not None]
    return None


def shown(name: str | Path) -> str:
    """A file's or class' name for a sentence: as it is, or quoted with escapes where it would not stay plain on a line.

    Names hold any byte but a slash and NUL: line breaks, quotes, and bytes of no character (surrogates in Python).
    """
    text = str(name)
    plain = text.isprintable() and text == text.strip() and not set(text) & set("'\"\\")
    return text if plain else repr(text)


def done_over(*, named: bool) -> str:
    """How a finished run is done over, for a sentence. named: True if the command names the run's folder."""
    return "another hydra.run.dir does it over" if named else "force=true does it over, in a new folder"


def sentence(error: BaseException) -> str:
    """What went wrong, on one line: a refusal as it is, anything else with its class."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (UsageError, RunError)) else f"{type(error).__name__}: {text}"
