"""Start the processes of one distributed run: the first process starts the others, its companions. Imports no torch.

A companion says through a pipe when it is ready to train, and why it fails. So the first process tells the reason,
where it would otherwise know only that a connection is closed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from imgrec import ranks
from imgrec.errors import Interrupted, LostProcess, RefusalError, RunError, interruption_in, sentence, shown

_TELLS = "IMGREC_TELLS"  # the number of the file into which a companion writes
_READY = "ready"
GRACE = 60.0  # seconds for a companion to exit after the training
_LOOK = 1.0  # seconds between two checks of the companions
SETTLE = 10.0  # seconds for the first process to notice that a companion has ended, or for the cause to become known
_PAUSE = 0.05  # seconds between two looks at what companions say
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
            raise cut from None
        tell(Word(text=_told(error)[:_LONGEST], broken=isinstance(error, BrokenConnectionError)))
        if os.environ.get("IMGREC_DEBUG") == "1":
            traceback.print_exception(error)
        raise SystemExit(1) from error


def tell(word: Word) -> None:
    """Say to the first process, which has started this one, why this one ends."""
    _write(word.to_json())


def say_ready() -> None:
    """Say to the first process that this companion has built its part of the run."""
    _write(_READY)


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


class Companions:
    """The other processes of a run, as the first one sees them.

    Args:
        processes: The processes, from rank 1 on.
        pipes: For each of them the file from which its words are read.
        log: The file with their log.
        asked: Returns the signal that this process has received; None for none.
    """

    def __init__(
        self,
        processes: Sequence["subprocess.Popen[bytes]"],
        pipes: Sequence[int],
        log: Path,
        asked: Callable[[], int | None],
    ) -> None:
        self.processes, self._pipes, self._log, self._asked = processes, pipes, log, asked
        self._said = defaultdict[int, bytes](bytes)
        self._lock = threading.Lock()  # the thread that watches them reads as well

    def wait_until_ready(self) -> None:
        """Wait until all have built their part of the run.

        Raises:
            RunError, LostProcess: One of them has ended.
        """
        while not all(_READY in self._lines(number) for number in range(len(self.processes))):
            if any(process.poll() is not None for process in self.processes):
                raise self.cause() or RunError(f"a process of the run has ended; its log is {shown(self._log)}")
            time.sleep(_PAUSE)

    def cause(self) -> Cause | None:
        """Return why one of them has ended; None if none ends within ten seconds, or none of the ends is the cause."""
        until = time.monotonic() + SETTLE
        while True:
            codes = [process.poll() for process in self.processes]  # before the words, which come before the end
            for number, code in enumerate(codes):
                word = self._word(number)
                if cause := cause_of(number + 1, self._log, code=code, word=word, asked=self._asked()):
                    return cause
            if None not in codes or time.monotonic() > until:
                return None
            time.sleep(_PAUSE)

    def _word(self, number: int) -> Word | None:
        told = [line for line in self._lines(number) if line != _READY]
        return Word.from_json(told[0]) if told else None

    def _lines(self, number: int) -> list[str]:
        """Return the complete lines that the process has said."""
        with self._lock:
            with contextlib.suppress(BlockingIOError):  # it has said nothing more
                while more := os.read(self._pipes[number], 1 << 16):
                    self._said[number] += more
            return self._said[number].decode(errors="replace").split("\n")[:-1]


@contextlib.contextmanager
def started(
    job: str,
    *,
    count: int,
    at_port: int,
    log: Path,
    asked: Callable[[], int | None],
    give_up: Callable[[Cause], None],
) -> Iterator[Companions]:
    """Run companions while the block runs.

    They are killed if the block fails; otherwise they exit by themselves. If a companion fails and the block continues
    for ten seconds without it, all processes of the run are ended, as this one would wait for the companion for ever.

    Args:
        job: The job as JSON text, which each companion reads from its standard input.
        count: The number of processes of the run, including this one.
        at_port: The port at which this process waits for them.
        log: The file with the log of the run.
        asked: Returns the signal that this process has received; None for none.
        give_up: Is told why the run ends, before this process exits at once.
    """
    command = [sys.executable, "-m", "imgrec", "_job", "-"]
    told = {**os.environ, ranks.STARTED_BY: str(os.getpid()), ranks.PORT: str(at_port)}
    others: list[subprocess.Popen[bytes]] = []
    pipes: list[int] = []
    companions = Companions(others, pipes, log, asked)
    over = threading.Event()
    try:
        for number in range(1, count):
            others.append(_start(command, {**told, ranks.LOCAL_RANK: str(number)}, job, pipes))
        threading.Thread(target=_end_with_any, args=(companions, over, give_up), daemon=True).start()
        yield companions
    except BaseException as error:
        cut = interruption_in(error)
        if cut is None or isinstance(cut, LostProcess):  # else they save and exit by themselves
            _kill(others)  # on GPUs they would wait for half an hour for a failed process
        raise
    finally:
        over.set()
        until = time.monotonic() + GRACE
        for other in others:
            try:
                other.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill([other])
                other.wait()
        for pipe in pipes:
            os.close(pipe)


def _start(
    command: Sequence[str], environment: dict[str, str], job: str, pipes: list[int]
) -> "subprocess.Popen[bytes]":
    """Start a companion, and append the file from which its words are read to `pipes`."""
    own, theirs = os.pipe()
    os.set_blocking(own, False)
    pipes.append(own)
    try:
        told = {**environment, _TELLS: str(theirs)}
        other = subprocess.Popen(command, env=told, stdin=subprocess.PIPE, pass_fds=(theirs,))
    finally:
        os.close(theirs)
    assert other.stdin is not None, "a pipe"
    with contextlib.suppress(BrokenPipeError), other.stdin:  # a companion that has ended is detected later
        other.stdin.write(job.encode())
    return other


def _end_with_any(companions: Companions, over: threading.Event, give_up: Callable[[Cause], None]) -> None:
    """End the whole run when a companion has failed and the first process does not notice."""
    while not over.wait(_LOOK):
        codes = [other.poll() for other in companions.processes]
        if any(codes):
            if over.wait(SETTLE):
                return
            cause = companions.cause() or RunError("a process of the run has ended, and this one waits for it")
            _kill(companions.processes)
            give_up(cause)
            os._exit(cause.exit_code if isinstance(cause, LostProcess) else 1)
        if None not in codes:
            return


def _kill(others: Sequence["subprocess.Popen[bytes]"]) -> None:
    for other in others:
        other.kill()  # no effect on a process that has ended


def _write(line: str) -> None:
    number = os.environ.get(_TELLS, "")
    if ranks.here().by == "imgrec" and number.isdecimal():
        with contextlib.suppress(OSError):  # the first process has ended
            os.write(int(number), f"{line}\n".encode())


def _told(error: BaseException) -> str:
    """Return the reason in a sentence, with the line that raised it where that is no refusal."""
    if isinstance(error, RefusalError):
        return sentence(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f"{sentence(error)} ({own[-1].filename}, line {own[-1].lineno})" if own else sentence(error)
