"""Fixtures of machines that share a file system: processes for which names, clocks and locks are those of another."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nodes import HERE, Node


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """machine.c as a library to preload."""
    if sys.platform != "linux" or not shutil.which("gcc"):
        pytest.skip("machines are played by a library in C, on Linux")
    made = tmp_path_factory.mktemp("library") / "machine.so"
    words = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(made), str(HERE / "machine.c"), "-ldl"]
    subprocess.run(words, check=True)
    return made


@pytest.fixture
def node(library: Path, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """`node(HOST, FAKE_FLOCK="local", ...)`: start a process on that machine."""
    started: list[Node] = []

    def start(host: str, **settings: str) -> Node:
        started.append(Node(library, host, settings, tmp_path / f"{host}{len(started)}.log"))
        assert started[-1].answer() == "ready", started[-1].log.read_text()
        return started[-1]

    yield start
    for each in started:
        each.process.send_signal(signal.SIGCONT)
        each.kill()
