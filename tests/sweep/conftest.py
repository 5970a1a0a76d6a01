"""Fixtures of sweeps as users start them, in their own processes, with runs that fail on purpose."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import canaries
import pytest
from waiting import wait_until

# For every Python process of the sweep, and before anything else in those that are not forked from the tests' own: the
# run of a seed breaks as BREAK says.
_BREAKS = """
import importlib.abc, importlib.machinery, os, sys, time

NAME = "imgrec.training.run"


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), patch(module))
        return spec


def patch(module):
    fit_and_read = module.fit_and_read

    def breaks(record, job, *rest):
        seed, _, how = os.environ["BREAK"].partition(":")
        if job.config.seed == int(seed):
            module.records.write(job.folder / "record.json", record)
            exec(how, {"os": os, "sys": sys})
        fit_and_read(record, job, *rest)

    module.fit_and_read = breaks


if os.environ.get("BREAK"):
    if NAME in sys.modules:
        patch(sys.modules[NAME])
    else:
        sys.meta_path.insert(0, Finder())
if os.environ.get("SLOW_DISK"):
    fsync = os.fsync
    os.fsync = lambda file: (time.sleep(0.002), fsync(file))[1]
"""


class Sweeping:
    """A sweep in a process forked from the tests' own, and all that it starts."""

    def __init__(self, child: Any) -> None:
        self.log: Path = child.log
        self._child = child
        self._code: int | None = None

    def wait(self) -> int:
        if self._code is None:
            self._code = self._child.wait()
        return self._code

    def signal_when(self, ready: Callable[[], bool], signum: int, *, group: bool = False) -> int:
        """Send the signal as soon as `ready`, and wait; the exit code. An end before that is one as well.

        group: to all of its processes, as a batch system does.
        """
        wait_until(lambda: ready() or self.ended(), log=self.log, patience=180, pause=0.002)
        if not self.ended():
            for pid in self.family() if group else [self._child.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
        return self.wait()

    def ended(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self._child.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is not None

    def family(self) -> list[int]:
        """The process, and those that it started, directly or not."""
        found, pending = [], [self._child.pid]
        while pending:
            found.append(pending.pop())
            for task in Path(f"/proc/{found[-1]}/task").glob("*/children"):
                pending += [int(pid) for pid in task.read_text().split()]
        return found


@pytest.fixture
def sweep(imgrec: Callable[..., Any], workplace: Path) -> Iterator[Callable[..., Sweeping]]:
    """Start `imgrec train -m WORDS...`.

    breaks="SEED:CODE" executes that code in the run of that seed. slow_disk: saves take their time. output: a named
    pipe for all that it says, instead of its log; so no other end of it is forked along. No Python file of the working
    folder may be run.
    """
    sung = canaries.plant(workplace)
    (workplace / "site").mkdir()
    (workplace / "site" / "sitecustomize.py").write_text(_BREAKS)
    started: list[Sweeping] = []

    def start(*words: str, breaks: str = "", slow_disk: bool = False, output: Path | None = None) -> Sweeping:
        def arrange() -> None:
            os.environ["PYTHONPATH"] = str(workplace / "site")
            os.environ.update({"BREAK": breaks, "SLOW_DISK": "1" if slow_disk else ""})
            exec(_BREAKS, {"__name__": "sitecustomize"})
            if output is not None:
                pipe = os.open(output, os.O_WRONLY)  # waits for the reader
                os.dup2(pipe, 1)
                os.dup2(pipe, 2)

        started.append(Sweeping(imgrec("train", "-m", *words, group=True, before=arrange)))
        return started[-1]

    yield start
    for each in started:
        if not each.ended():
            os.kill(each.family()[0], signal.SIGKILL)
            each.wait()
    assert not sung.exists(), f"run from the working folder: {sung.read_text()}"
