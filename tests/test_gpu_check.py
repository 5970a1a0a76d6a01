"""Test the check of a GPU on a machine without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[1] / "experiments" / "gpu" / "check.py"


def checked(**variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **variables}
    return subprocess.run([sys.executable, str(CHECK)], env=environment, capture_output=True, text=True)


@pytest.mark.long
def test_a_machine_without_a_gpu_is_told_in_a_line() -> None:
    done = checked()
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith("no GPU to check: this machine has none; REHEARSE=1")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_stage_is_rehearsed_on_the_cpu() -> None:
    done = checked(REHEARSE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "rehearsed: every stage did what it should"
