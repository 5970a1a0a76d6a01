"""Test SIGKILL at any moment: a complete checkpoint always exists, and the resumed run ends as an undisturbed one."""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same_run, ended_at

from imgrec import checkpoint

WORDS = ("trainer.max_epochs=4", "trainer.checkpoint_every=1", "model.dropout=0.3", "augment=crop_flip")
RICH = ("trainer.max_epochs=3", "model.dropout=0.3", "augment=crop_flip", "trainer.ema_decay=0.9", "schedule=cosine")
EPOCH = 8  # steps
KILLS_A_RUN = 6
ELSEWHERE = Path("/dev/shm")


def slow_disk() -> None:
    """Let the disk take its time, so that most of the run is spent between two steps of a save."""
    fsync, replace = os.fsync, Path.replace

    def slow_fsync(file: int) -> None:
        time.sleep(0.002)
        fsync(file)

    def slow_replace(self: Path, target: Any) -> Path:
        time.sleep(0.002)
        return replace(self, target)

    os.fsync, Path.replace = slow_fsync, slow_replace  # type: ignore[method-assign]


def elsewhere() -> None:
    """As `slow_disk`, and with temporary files on another file system."""
    os.environ["TMPDIR"] = str(ELSEWHERE)
    tempfile.tempdir = None
    slow_disk()


def in_the_middle(folder: Path) -> bool:
    """Whether something of a save lies half done."""
    names = {path.name for path in folder.iterdir()}
    return any(name.endswith(".partial") for name in names) or (
        "last.ckpt" in names and "last.ckpt.sha256" not in names
    )


@pytest.mark.parametrize(
    ("before", "beside"),
    [
        (slow_disk, False),
        pytest.param(elsewhere, False, marks=pytest.mark.slow),
        pytest.param(slow_disk, True, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.long
def test_kills_while_saving(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    outcome: Callable[[str, str], None],
    before: Callable[[], None],
    beside: bool,
    kills: int,
) -> None:
    if before is elsewhere and not (ELSEWHERE.is_dir() and ELSEWHERE.stat().st_dev != workplace.stat().st_dev):
        pytest.skip("no second file system to put $TMPDIR on")
    words = ["train", *tiny, *WORDS, f"trainer.async_save={beside}"]
    draws, torn, killed, number = random.Random(kills), 0, 0, 0
    while killed < kills:
        number += 1
        folder = workplace / f"cut{number}"
        for _ in range(min(KILLS_A_RUN, kills - killed)):
            if not killed_while_saving(imgrec(*words, f"hydra.run.dir={folder}", before=before), folder, draws):
                break  # it had come to its end
            killed += 1
            torn += in_the_middle(folder / "checkpoints")
            assert checkpoint.newest(folder / "checkpoints") is not None, "a checkpoint was there, and none is left"
        child = imgrec(*words, f"hydra.run.dir={folder}", before=before)
        assert child.wait() == 0, child.log.read_text()
        assert_same_run(undisturbed(*WORDS), folder)
    where = "$TMPDIR on another mount" if before is elsewhere else "async_save" if beside else "saving"
    outcome(f"{kills} SIGKILLs ({where})", f"{torn} tore a save; a whole checkpoint each time; {number} runs bit-equal")


def killed_while_saving(child: Any, folder: Path, draws: random.Random) -> bool:
    """Kill the run at a random moment after its first save, so that each process comes further than the one before."""
    last = folder / "checkpoints/last.ckpt"
    since = last.stat().st_mtime_ns if last.exists() else 0

    def ready() -> bool:
        if not last.exists() or last.stat().st_mtime_ns <= since:
            return False
        time.sleep(draws.uniform(0, 0.06))
        return True

    try:
        return bool(child.signal_when(ready, signal.SIGKILL) == -signal.SIGKILL)
    except AssertionError:
        return False


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.long
def test_resume_at_every_step(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    outcome: Callable[[str, str], None],
    workers: int,
    stride: int,
) -> None:
    words = ["train", *tiny, *RICH, f"data.num_workers={workers}"]
    steps = range(1, 3 * EPOCH + 1, stride)
    for step in steps:
        folder = f"hydra.run.dir={workplace / f'cut{step}'}"
        # after the last step of all too: its scores are still to be read
        assert imgrec(*words, folder, before=lambda step=step: ended_at(step)).wait() == 143
        again = imgrec(*words, folder)
        assert again.wait() == 0, again.log.read_text()
        assert_same_run(undisturbed(*RICH), workplace / f"cut{step}")
    outcome(f"SIGTERM after each of {len(steps)} steps, {workers} workers", "saved there, exit 143; resumed: bit-equal")
