"""Test searches that end trials early."""

import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgrec import records
from imgrec.errors import UsageError
from imgrec.sweep.run import Sweep

SWEEP = Path("outputs/default")
SLOW = "0:import time; from imgrec.training.progress import Speed; old = Speed.on_train_batch_end; " + (
    "Speed.on_train_batch_end = lambda self, *a: (old(self, *a), time.sleep(0.1))[0]"
)
SPACE = "optimizer.lr=tag(log,interval(1e-9,0.1))"


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    pruner = ["sweep.pruner=asha", "sweep.reduction_factor=2"]
    return [*tiny, "trainer.max_epochs=4", SPACE, "sweep=optuna", "sweep.trials=5", *pruner]


def states() -> Counter[str]:
    found = [records.read(path) for path in SWEEP.glob("*/record.json")]
    return Counter("pruned" if record.is_pruned else record.status for record in found)


@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["whole", "killed"])
def test_trials_that_are_not_among_the_best_are_ended_and_count_once(
    sweep: Callable[..., Any], words: list[str], command: Callable[..., tuple[int, str, str]], is_killed: bool
) -> None:
    words += ["launcher=pool", "launcher.processes=2"]
    child, said = sweep(*words, breaks=SLOW), ""
    if is_killed:
        assert child.signal_when(lambda: "pruned" in child.log.read_text(), signal.SIGKILL) == -9
        said = child.log.read_text()
        child = sweep(*words, breaks=SLOW)
    assert child.wait() == 0, child.log.read_text()
    said += child.log.read_text()
    assert states().keys() == {"finished", "pruned"}, said
    assert states().total() == 5
    told = r"its validation top1 of 0\.\d+ after epoch \d is not among the best at that epoch"
    assert re.search(rf"pruned    lr-\S+: {told}", said), said
    assert "search: the best of 5 trials" in said

    before = {path: path.stat().st_mtime_ns for path in SWEEP.glob("*/record.json")}
    again = sweep(*words)
    assert again.wait() == 0, again.log.read_text()
    assert {path: path.stat().st_mtime_ns for path in SWEEP.glob("*/record.json")} == before
    code, out, _ = command("sweep", "status", str(SWEEP))
    assert code == 0
    assert re.search(rf"^pruned       lr-\S+: {told}$", out, re.MULTILINE), out


def test_a_launcher_that_cannot_end_a_run_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"sweep\.pruner needs a launcher that can end one run .* give launcher=pool"):
        Sweep(words)
    assert not SWEEP.exists()
