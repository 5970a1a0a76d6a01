"""What the fault tests share: the parent that all runs are forked from, and disks to be filled."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import imgrec.training.run  # noqa: F401 - imported once, here: every child is forked with it


@pytest.fixture
def disk(workplace: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small file system in the working folder: `disk("size=4m")`, or with other options of tmpfs."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = workplace / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a file system can be mounted by root only")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
