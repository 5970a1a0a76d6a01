"""Test a second signal, and that no process is left behind."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same_run, steps_logged
from waiting import wait_until

from imgrec import checkpoint, runfolder
from imgrec.training.progress import Speed

WORDS = ("trainer.max_epochs=3", "model.dropout=0.3")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes there are")


def slow_step() -> None:
    """Let step 11 take until the signals have been sent: until there is a file `sent` in the working folder."""
    ended = Speed.on_train_batch_end

    def on_train_batch_end(self: Speed, trainer: Any, *rest: Any) -> None:
        ended(self, trainer, *rest)
        if trainer.global_step == 11:
            wait_until(Path("sent").exists)

    Speed.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]


def workers(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def all_gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGTERM, signal.SIGTERM), 143),
        pytest.param((signal.SIGINT, signal.SIGINT), 130, marks=pytest.mark.slow),
        ((signal.SIGTERM,), 143),
        ((signal.SIGHUP, signal.SIGHUP), 129),
        ((signal.SIGKILL,), -9),
    ],
    ids=lambda value: "-".join(each.name for each in value) if isinstance(value, tuple) else "",
)
@pytest.mark.long
def test_no_worker_outlives_a_run_and_a_second_signal_ends_it_at_once(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    outcome: Callable[[str, str], None],
    signals: tuple[signal.Signals, ...],
    code: int,
) -> None:
    words = ["train", *tiny, *WORDS, "data.num_workers=2"]
    cut = workplace / "cut"
    child = imgrec(*words, f"hydra.run.dir={cut}", before=slow_step)
    wait_until(lambda: steps_logged(cut) >= 11, log=child.log)
    helpers = workers(child.pid)
    assert len(helpers) >= 2
    for signum in signals:
        os.kill(child.pid, signum)
        time.sleep(0.3)
    (workplace / "sent").touch()
    assert child.wait() == code, child.log.read_text()
    wait_until(lambda: all_gone(helpers), log=child.log, patience=10)
    newest = checkpoint.newest(cut / "checkpoints")
    assert newest is not None
    assert newest[1]["global_step"] == (11 if signals[-1] == signal.SIGHUP or signals == (signal.SIGTERM,) else 8)
    record = runfolder.look(cut)
    assert record is not None
    assert record.status == "interrupted"
    assert imgrec(*words, f"hydra.run.dir={cut}").wait() == 0
    assert_same_run(undisturbed(*WORDS), cut)
    names = ", ".join(each.name for each in signals)
    outcome(f"{names} in a step, 2 workers", f"exit {code}, saved at step {newest[1]['global_step']}, no worker left")


def test_a_run_under_nohup_outlives_its_terminal(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path, outcome: Callable[[str, str], None]
) -> None:
    def ignored() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    cut = workplace / "cut"
    child = imgrec("train", *tiny, "trainer.max_epochs=2", f"hydra.run.dir={cut}", before=ignored)
    assert child.signal_when(lambda: steps_logged(cut) >= 3, signal.SIGHUP) == 0, child.log.read_text()
    outcome("SIGHUP to a run under nohup", "it goes on to its end")
