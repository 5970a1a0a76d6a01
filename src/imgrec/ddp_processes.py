"""Start the processes of one distributed run: the first process starts the others, its companions. Imports no torch.

A companion says through a pipe when it is ready to train, and why it fails. So the first process tells the reason,
where it would otherwise know only that a connection is closed.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from imgrec import process_ends, ranks
from imgrec.errors import LostProcess, RunError, interruption_in, shown
from imgrec.process_ends import Cause, Word, cause_of

_TELLS = "IMGREC_TELLS"  # the number of the file into which a companion writes
_READY = "ready"
GRACE = 60.0  # seconds for a companion to exit after the training
_PAUSE = 0.05  # seconds between two looks at what companions say
_LOOK = 1.0  # seconds between two looks of a companion at the first process


def tell(word: Word) -> None:
    """Say to the first process, which has started this one, why this one ends."""
    _write(word.to_json())


def say_ready() -> None:
    """Say to the first process that this companion has built its part of the run."""
    _write(_READY)


def end_with_first() -> None:
    """End this process soon after the first one, in the background, if it is a companion.

    It would wait for a killed one for up to half an hour, and keep its GPU.
    """
    if ranks.here().by == "imgrec":
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(first: int) -> None:
    while os.getppid() == first:
        time.sleep(_LOOK)
    os._exit(1)


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
        while True:
            ended = any(process.poll() is not None for process in self.processes)  # before what they say
            if all(_READY in self._lines(number) for number in range(len(self.processes))):
                return
            if ended:
                raise self.cause() or RunError(f"a process of the run has ended; its log is {shown(self._log)}")
            time.sleep(_PAUSE)

    def cause(self) -> Cause | None:
        """Return why one of them has ended; None if none ends within ten seconds, or none of the ends is the cause."""
        until = time.monotonic() + process_ends.SETTLE
        while True:
            codes = [process.poll() for process in self.processes]  # before the words, which come before the end
            for number, code in enumerate(codes):
                word = self._word(number)
                if cause := cause_of(number + 1, self._log, code=code, word=word, asked=self._asked()):
                    return cause
            if None not in codes or time.monotonic() > until:
                return None
            time.sleep(_PAUSE)

    def have_failed(self) -> bool:
        """Return True if one of them has ended before the end of the training."""
        return any(process.poll() for process in self.processes)

    def kill(self) -> None:
        """Kill all of them."""
        _kill(self.processes)

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
    try:
        for number in range(1, count):
            others.append(_start(command, {**told, ranks.LOCAL_RANK: str(number)}, job, pipes))
        with process_ends.watched(companions, give_up):
            yield companions
    except BaseException as error:
        cut = interruption_in(error)
        if cut is None or isinstance(cut, LostProcess):  # else they save and exit by themselves
            _kill(others)  # on GPUs they would wait for half an hour for a failed process
        raise
    finally:
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


def _kill(others: Sequence["subprocess.Popen[bytes]"]) -> None:
    for other in others:
        other.kill()  # no effect on a process that has ended


def _write(line: str) -> None:
    number = os.environ.get(_TELLS, "")
    if ranks.here().by == "imgrec" and number.isdecimal():
        with contextlib.suppress(OSError):  # the first process has ended
            os.write(int(number), f"{line}\n".encode())
