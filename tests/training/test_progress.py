"""Test what a run shows on a terminal while it trains."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from terminal import ESCAPES, on_a_terminal


@pytest.mark.long
def test_lines_stand_above_the_bar_and_both_count_epochs_from_one(tiny: list[str], imgrec: Callable[..., Any]) -> None:
    rest = [word for word in tiny if not word.startswith("trainer.progress")]
    code, drawn = on_a_terminal(imgrec, ["train", *rest, "trainer.max_epochs=2"])
    assert code == 0, drawn
    shown = ESCAPES.sub("", drawn)
    assert re.search(r"Epoch 1/2 .*8/8", shown)
    assert "Epoch 2/2 " in shown
    assert "Epoch 0" not in shown
    for epoch in (1, 2):
        (line,) = re.findall(rf"(?:^|[\r\n])epoch {epoch}/2 +step {8 * epoch} +val top1 .*", shown)
        assert "━" not in line
