"""What the fault tests share: the parent that all runs are forked from, and disks to be filled."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import imgrec.training.run  # noqa: F401 - imported once, here: every child is forked with it
from imgrec.cli import main


@pytest.fixture
def command(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `imgrec ARGUMENTS...` in this process; gives exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["imgrec", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capfd.readouterr()
        return (stop.value.code if isinstance(stop.value.code, int) else 0), said.out, said.err

    return run


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
