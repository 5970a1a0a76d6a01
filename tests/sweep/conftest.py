"""Sweeps as users start them, in processes of their own, some of whose runs are made to break."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import wait_until

# Imported by every Python process of the sweep, before anything else: the run of a seed breaks as BREAK says.
_BREAKS = """
import importlib.abc, importlib.machinery, os, sys, time

NAME = "imgrec.training.run"


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def patched(module):
            execute(module)
            carry_out = module._carry_out

            def breaks(record, config, folder, *rest):
                seed, _, how = os.environ["BREAK"].partition(":")
                if config.seed == int(seed):
                    module.records.write(folder / "record.json", record)
                    exec(how, {"os": os, "sys": sys})
                carry_out(record, config, folder, *rest)

            module._carry_out = breaks

        spec.loader.exec_module = patched
        return spec


if os.environ.get("BREAK"):
    sys.meta_path.insert(0, Finder())
if os.environ.get("SLOW_DISK"):
    fsync = os.fsync
    os.fsync = lambda file: (time.sleep(0.002), fsync(file))[1]
"""


class Command:
    """`imgrec` in a process of its own, and all that it starts."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str], output: int | None) -> None:
        self.log = log
        with log.open("ab") as file:
            target = file.fileno() if output is None else output
            self.process = subprocess.Popen(
                [sys.executable, "-m", "imgrec", *arguments],
                stdout=target,
                stderr=target,
                env=environment,
                start_new_session=True,
            )

    def wait(self) -> int:
        return self.process.wait(timeout=240)

    def signal_when(self, ready: Callable[[], bool], signum: int, *, group: bool = False) -> int:
        """Send the signal as soon as `ready`, and wait; the exit code. An end before that is one as well.

        group: to all of its processes, as a batch system does.
        """
        wait_until(lambda: ready() or self.process.poll() is not None, log=self.log, pause=0.002)
        if self.process.poll() is None:
            for pid in self.family() if group else [self.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
        return self.wait()

    def family(self) -> list[int]:
        """The process, and those that it started, directly or not."""
        found, pending = [], [self.process.pid]
        while pending:
            found.append(pending.pop())
            for task in Path(f"/proc/{found[-1]}/task").glob("*/children"):
                pending += [int(pid) for pid in task.read_text().split()]
        return found


@pytest.fixture
def sweep(workplace: Path) -> Iterator[Callable[..., Command]]:
    """Start `imgrec train -m WORDS...`.

    breaks="SEED:CODE" executes that code in the run of that seed. slow_disk: saves take their time. output: where all
    that it says goes, instead of its log.
    """
    (workplace / "site").mkdir()
    (workplace / "site" / "sitecustomize.py").write_text(_BREAKS)
    started: list[Command] = []

    def start(*words: str, breaks: str = "", slow_disk: bool = False, output: int | None = None) -> Command:
        environment = {**os.environ, "PYTHONPATH": str(workplace / "site"), "OMP_NUM_THREADS": "1"}
        environment |= {"BREAK": breaks, "SLOW_DISK": "1" if slow_disk else ""}
        log = workplace / f"sweep{len(started)}.log"
        started.append(Command(["train", "-m", *words], log, environment, output))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.send_signal(signal.SIGKILL)
            command.process.wait()
