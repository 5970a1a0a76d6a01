"""Test that a process' memory does not grow with the number of epochs or runs."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgrec.sweeps.live_view import LiveView
from imgrec.sweeps.run import Sweep
from imgrec.training.progress import Speed

PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process holds")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def watched(log: Path) -> None:
    """Let this process write down what it holds at every epoch's end."""
    ended = Speed.on_train_epoch_end

    def on_train_epoch_end(self: Speed, *arguments: Any) -> None:
        ended(self, *arguments)
        gc.collect()
        with log.open("a") as file:
            file.write(f"{resident()} {descriptors()}\n")

    Speed.on_train_epoch_end = on_train_epoch_end  # type: ignore[method-assign]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_fifty_epochs(
    tiny: list[str],
    imgrec: Callable[..., Any],
    workplace: Path,
    outcome: Callable[[str, str], None],
    workers: int,
) -> None:
    log = workplace / "held"
    words = [
        *tiny,
        "trainer.max_epochs=50",
        "augment=crop_flip",
        "trainer.tensorboard=true",
        f"data.num_workers={workers}",
    ]
    child = imgrec("train", *words, before=lambda: watched(log))
    assert child.wait() == 0, child.log.read_text()
    held = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    assert len(held) == 50
    grown, opened = (held[-1][0] - held[9][0]) / MB, held[-1][1] - held[9][1]
    assert grown < 8, f"{grown:.1f} MB from the 10th epoch to the 50th"
    assert opened <= 0
    outcome(f"50 epochs, {workers} workers", f"{grown:+.1f} MB and {opened:+d} file descriptors since the 10th")


@pytest.mark.parametrize(
    ("runs", "megabytes"), [(3, 8), pytest.param(100, 20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
@pytest.mark.long
def test_many_runs_of_one_sweep(
    tiny: list[str], outcome: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, runs: int, megabytes: int
) -> None:
    """The memory differs by 3 MB from run to run, up or down."""
    held = []
    ended = LiveView.ended

    def measured(self: LiveView, *rest: Any) -> None:
        ended(self, *rest)
        gc.collect()
        held.append((resident(), descriptors()))

    monkeypatch.setattr(LiveView, "ended", measured)
    Sweep([*tiny, "trainer.max_epochs=1", "trainer.tensorboard=true", f"seed=range({runs})"]).run()
    assert len(held) == runs
    early = held[runs // 3]
    grown, opened = (held[-1][0] - early[0]) / MB, held[-1][1] - early[1]
    assert opened <= 0
    assert grown < megabytes, f"{grown:.1f} MB over the last two thirds of {runs} runs"
    outcome(f"{runs} runs of one sweep", f"{grown:+.1f} MB and {opened:+d} file descriptors over the last two thirds")
