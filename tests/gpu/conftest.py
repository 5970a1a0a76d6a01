"""Give the tests of this folder a GPU, or the CPU for a rehearsal (REHEARSE=1), or skip them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

REHEARSED = os.environ.get("REHEARSE") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not (torch.cuda.is_available() or REHEARSED):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU; REHEARSE=1 tries it out on the CPU"))


@pytest.fixture
def device() -> torch.device:
    return torch.device("cpu" if REHEARSED else "cuda:0")


@pytest.fixture
def on_gpu(tiny: list[str]) -> list[str]:
    """The words of the tiny run on the GPU, with the same bits each time."""
    accelerator = "cpu" if REHEARSED else "gpu"
    return [*tiny, f"trainer.accelerator={accelerator}", "trainer.deterministic=true"]


@pytest.fixture
def spawned(workplace: Path) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start `imgrec ARGUMENTS...` in a new process: CUDA does not work in a fork of a process that has used it."""

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        return subprocess.Popen([sys.executable, "-m", "imgrec", *arguments], env=environment)

    return start
