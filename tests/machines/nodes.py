"""Processes on machines of their own, which share a file system."""

import os
import subprocess
import sys
from pathlib import Path

LEASE = 2.0  # seconds; a sixtieth of the real one
HERE = Path(__file__).parent


class Node:
    """A process on a machine of its own (`node.py`)."""

    def __init__(self, library: Path, host: str, settings: dict[str, str], log: Path) -> None:
        self.log = log
        environment = {**os.environ, "LD_PRELOAD": str(library), "FAKE_HOST": host, **settings}
        with log.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "node.py"), str(LEASE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=environment,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{' '.join(map(str, words))}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """What it says next; nothing if it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, *words: object) -> str:
        self.tell(*words)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
