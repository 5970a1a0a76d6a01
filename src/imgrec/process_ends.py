"""Tell why the processes of one distributed run end, and end all of them where one has. Imports no torch."""

import contextlib
import json
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

from imgrec import ranks
from imgrec.errors import Interrupted, LostProcess, RefusalError, RunError, interruption_in, sentence, shown

SETTLE = 10.0  # seconds for the first process to notice that another one has ended, or for the cause to become known
_LOOK = 1.0  # seconds between two checks of the other processes
_LONGEST = 3000  # characters of a reason, so that a pipe without a reader takes it at once
# ends that show a fault of the process itself; other signals come from outside
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP)
_ASKS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)  # signals that a process notes

Cause = RunError | LostProcess
"""Why the processes of a run cannot go on."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """What another process than the first says of its end.

    Attributes:
        text: The reason in a sentence.
        broken: True if it has only lost its connection, as another process has ended.
        signum: The signal that it was asked to end with; None for a failure.
    """

    text: str
    broken: bool = False
    signum: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


class BrokenConnectionError(RuntimeError):
    """A process of the run can no longer exchange values with the others, as one of them has ended."""


class Others(Protocol):
    """The other processes of a distributed run, as the first one sees them."""

    def wait_until_ready(self) -> None:
        """Wait until all have built their part of the run.

        Raises:
            RunError, LostProcess: One of them has ended.
        """

    def cause(self) -> Cause | None:
        """Return why one of them has ended; None if none ends within ten seconds, or none of the ends is the cause."""

    def have_failed(self) -> bool:
        """Return True if one of them has ended before the end of the training."""

    def kill(self) -> None:
        """Kill those that this process has started."""


@contextlib.contextmanager
def telling(tell: Callable[[Word], None]) -> Iterator[None]:
    """Tell the first process why this one fails in the block. This one then ends without a sentence of its own.

    In a process that is no companion, nothing is told and errors pass.

    Args:
        tell: Passes the word to the first process.
    """
    if ranks.rank() == 0:
        yield
        return
    try:
        yield
    except (Exception, Interrupted) as error:
        if cut := interruption_in(error):
            tell(Word(text=str(cut), signum=cut.exit_code - 128))
            raise SystemExit(cut.exit_code) from None
        tell(Word(text=_told(error)[:_LONGEST], broken=isinstance(error, BrokenConnectionError)))
        if os.environ.get("IMGREC_DEBUG") == "1":
            traceback.print_exception(error)
        raise SystemExit(1) from error


@contextlib.contextmanager
def watched(others: Others, give_up: Callable[[Cause], None]) -> Iterator[None]:
    """End this process if another one has failed and the block continues for ten seconds without it.

    It would wait for the other one for ever.

    Args:
        others: The other processes.
        give_up: Is told why the run ends, before this process exits at once.
    """
    over = threading.Event()
    watch = threading.Thread(target=_end_with_any, args=(others, over, give_up), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()  # a thread in PyTorch's code would abort the process at its exit


def _end_with_any(others: Others, over: threading.Event, give_up: Callable[[Cause], None]) -> None:
    while not over.wait(_LOOK):
        if others.have_failed():
            if over.wait(SETTLE):
                return
            cause = others.cause() or RunError("a process of the run has ended, and this one waits for it")
            if over.is_set():
                return
            others.kill()
            give_up(cause)
            os._exit(cause.exit_code if isinstance(cause, LostProcess) else 1)


def cause_of(rank: int, log: Path, *, code: int | None, word: Word | None, asked: int | None = None) -> Cause | None:
    """Return the error of a run one of whose processes ended; None if that has only followed another process.

    Args:
        rank: The rank of the process.
        log: The file with its log.
        code: Its exit code, negative for a signal; None while it runs.
        word: What it said; None for nothing.
        asked: The signal that asks the whole run to end; None for none. A process may end with any code then.
    """
    who, see = f"process {rank} of the run", f"its log is {shown(log)}"
    if word is not None:
        if word.signum is not None:
            return LostProcess(word.signum, f"{who} was ended by {signal.Signals(word.signum).name}; {see}")
        return None if word.broken else RunError(f"{who} failed: {word.text}")
    if code is None:
        return None
    if asked is not None:
        return LostProcess(asked, f"interrupted by {signal.Signals(asked).name} before {who} could save; {see}")
    signum = -code if code < 0 else code - 128 if code - 128 in _ASKS else None
    if signum is None:
        return RunError(f"{who} ended with exit code {code} in the middle of the training, without a word; {see}")
    name = signal.Signals(signum).name if signum in signal.valid_signals() else f"signal {signum}"
    if signum in _CRASHES:
        return RunError(f"{who} crashed with {name}; {see}")
    memory = ", as the system does where memory runs out" if signum == signal.SIGKILL else ""
    return LostProcess(signum, f"{who} was ended by {name}{memory}; {see}")


def _told(error: BaseException) -> str:
    """Return the reason in a sentence, with the line that raised it where that is no refusal."""
    if isinstance(error, RefusalError):
        return sentence(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f"{sentence(error)} ({own[-1].filename}, line {own[-1].lineno})" if own else sentence(error)
