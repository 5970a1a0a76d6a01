"""Run a command on a terminal, and return all its output."""

import os
import pty
import re
import time
from collections.abc import Callable
from typing import Any

from imgrec.training.progress import Speed

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def slow_steps() -> None:
    """Each step of training waits, so that a view is drawn in its middle."""
    step = Speed.on_train_batch_end

    def slow(*arguments: Any) -> None:
        step(*arguments)
        time.sleep(0.05)

    Speed.on_train_batch_end = slow  # type: ignore[method-assign]


def on_a_terminal(imgrec: Callable[..., Any], words: list[str], width: int = 200) -> tuple[int, str]:
    """The exit code of `imgrec WORDS` on a terminal, and all that it drew there."""
    owner, terminal = pty.openpty()

    def sit_down() -> None:
        for standard in range(3):
            os.dup2(terminal, standard)
        os.environ.update({"TERM": "xterm", "COLUMNS": str(width), "LINES": "40"})
        slow_steps()

    child = imgrec(*words, before=sit_down)
    os.close(terminal)
    drawn = b""
    while True:
        try:
            piece = os.read(owner, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(owner)
    return child.wait(), drawn.decode("utf-8", "replace")
