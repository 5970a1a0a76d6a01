"""What a sweep tells while it runs: a live view on a terminal, lines in a pipe."""

import os
import pty
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from imgrec.sweep.ledger import spoken
from imgrec.training.progress import Speed

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def slow_steps() -> None:
    """Each step of training waits, so that the view is drawn in its middle."""
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


def test_a_terminal_shows_what_runs_how_far_it_is_and_the_best_score(
    tiny: list[str], imgrec: Callable[..., Any]
) -> None:
    rest = [word for word in tiny if not word.startswith("trainer.progress")]
    code, drawn = on_a_terminal(imgrec, ["train", "-m", *rest, "trainer.max_epochs=8", "seed=0,1"])
    assert code == 0, drawn
    plain = ESCAPES.sub("", drawn)
    assert "2 runs: 2 to do" in plain
    assert "0 of 2 runs done  1 running" in plain
    assert re.search(r"  seed-0-\w{8}  epoch \d/8  step \d+  val top1 \d\.\d{4}  \d+ images/s", plain)
    assert re.search(r"1 of 2 runs done  1 running  about \S+ \w+ left  best val top1 \d\.\d{4} seed-0-\w{8}", plain)
    assert "[2/2] finished" in plain
    assert "2 runs in outputs/default:" in plain
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (1.6, "2 seconds"),
        (89, "89 seconds"),
        (91, "2 minutes"),
        (24 * 60, "24 minutes"),
        (2 * 3600, "2 hours"),
        (40 * 3600, "2 days"),
    ],
)
def test_a_length_of_time_as_people_say_it(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
