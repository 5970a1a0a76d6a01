"""Test the output of a running sweep: a live view on a terminal, lines in a pipe."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from terminal import ESCAPES, on_a_terminal

from imgrec.sweeps.live_view import spoken


@pytest.mark.long
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
