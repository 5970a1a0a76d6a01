"""Test full and read-only disks: the reason in one line, nothing lost, and the same command continues."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same_run

from imgrec import checkpoint
from imgrec.training.progress import Speed

WORDS = ("trainer.max_epochs=3", "model.dropout=0.3")
SIZES = {"1m": 1 << 20, "4m": 1 << 22}


def fill(disk: Path, *, leave: int = 0) -> None:
    """Take all room of that disk, but for so many bytes."""
    with contextlib.suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        for _ in iter(lambda: file.write(bytes(4096)), 0):  # until the disk refuses
            continue
    if leave:
        os.truncate(disk / "filler", max(0, (disk / "filler").stat().st_size - leave))


def filled_at(step: int, disk: Path, leave: int = 0) -> Callable[[], None]:
    """Let the disk be full from that step on."""

    def arrange() -> None:
        logged = Speed.on_train_batch_end

        def on_train_batch_end(self: Speed, trainer: Any, *rest: Any) -> None:
            if trainer.global_step == step:
                fill(disk, leave=leave)
            logged(self, trainer, *rest)

        Speed.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]

    return arrange


def refusal(child: Any) -> str:
    """The last line of a run that fails, which must be the only one that speaks of it: no traceback."""
    assert child.wait() == 1, child.log.read_text()
    text = child.log.read_text()
    assert "Traceback" not in text, text
    last = str(text.splitlines()[-1])
    assert last.startswith("imgrec: "), text
    assert "OSError" not in last, "a sentence, not an exception's name"
    return last


@pytest.mark.long
def test_a_disk_that_fills_while_saving_beside_the_training(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    disk: Callable[..., Path],
    outcome: Callable[[str, str], None],
) -> None:
    words = ["train", *tiny, *WORDS, "trainer.async_save=true"]
    small = disk("size=4m")
    cut = small / "cut"
    said = refusal(imgrec(*words, f"hydra.run.dir={cut}", before=filled_at(11, small, 16384)))
    assert "last.ckpt cannot be saved: No space left on device" in said
    newest = checkpoint.newest(cut / "checkpoints")
    assert newest is not None
    assert newest[1]["global_step"] == 8
    (small / "filler").unlink()
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*WORDS), cut)
    outcome("disk full while saving, async_save", f"{said}; with room again: bit-equal")


@pytest.mark.slow
def test_no_process_outlives_the_first_when_its_disk_is_full(
    tiny: list[str], imgrec: Callable[..., Any], disk: Callable[[str], Path]
) -> None:
    small = disk("size=1m")
    words = ["train", *tiny, "trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4", "trainer.max_epochs=3"]
    run = small / "run"
    child = imgrec(*words, f"hydra.run.dir={run}", before=filled_at(9, small))
    assert "No space left on device" in refusal(child)
    started_by = f"IMGREC_STARTED_BY={child.pid}\0".encode()
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if started_by in _contents(path)]


def _contents(path: Path) -> bytes:
    """Nothing of a process that has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("what", "leave", "epoch", "file", "board"),
    [
        ("saving", 16384, 8, "checkpoints/last.ckpt", False),
        pytest.param("saving", 16384, 8, "checkpoints/last.ckpt", True, marks=pytest.mark.slow),
        ("keeping the older checkpoint", 0, 8, "checkpoints/previous.ckpt", False),
        pytest.param("keeping the older checkpoint", 0, 8, "checkpoints/previous.ckpt", True, marks=pytest.mark.slow),
        # so many steps an epoch that the curves outgrow what is left of their page
        ("logging", 0, 60, "curves.csv", False),
        ("logging", 0, 60, "curves.csv", True),
    ],
)
@pytest.mark.long
def test_a_disk_that_fills_at_a_step(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    disk: Callable[..., Path],
    outcome: Callable[[str, str], None],
    what: str,
    leave: int,
    epoch: int,
    file: str,
    board: bool,
) -> None:
    batches = f"data.batch_size={-(-60 // epoch)}"
    words = ["train", *tiny, *WORDS, batches, f"trainer.tensorboard={board}"]
    small = disk("size=4m")
    cut = small / "cut"
    said = refusal(imgrec(*words, f"hydra.run.dir={cut}", before=filled_at(epoch + 3, small, leave)))
    # TensorBoard's writer comes first where its events outgrow their page, and does not name its file
    assert f"{cut}/{file} cannot be " in said or (board and f"{cut} cannot be " in said)
    assert "No space left on device" in said
    newest = checkpoint.newest(cut / "checkpoints")
    assert newest is not None
    assert newest[1]["global_step"] == epoch
    (small / "filler").unlink()
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*WORDS, batches), cut)
    outcome(f"disk full while {what}{', TensorBoard on' if board else ''}", f"{said}; with room again: bit-equal")


@pytest.mark.parametrize("options", ["size=64k", "size=1m,nr_inodes=4"])
def test_a_disk_without_room_for_a_folder(
    tiny: list[str],
    imgrec: Callable[..., Any],
    disk: Callable[..., Path],
    outcome: Callable[[str, str], None],
    options: str,
) -> None:
    small = disk(options)
    if "inodes" not in options:
        fill(small)
    said = refusal(imgrec("train", *tiny, *WORDS, f"hydra.run.dir={small}/a/b/c/run"))
    assert "No space left on device" in said
    outcome(f"no room for a run's folder ({options})", said)


@pytest.mark.long
def test_a_disk_that_fills_in_a_sweep_costs_no_finished_run(
    tiny: list[str],
    imgrec: Callable[..., Any],
    disk: Callable[..., Path],
    outcome: Callable[[str, str], None],
) -> None:
    small = disk("size=4m")
    words = ["train", "-m", *tiny, "trainer.max_epochs=1", "seed=0,1,2", f"hydra.sweep.dir={small}/sweep"]

    def in_the_second_run() -> None:
        runs = 0
        start = Speed.on_train_start

        def on_train_start(self: Speed, *rest: Any) -> None:
            nonlocal runs
            runs += 1
            if runs == 2:
                fill(small)
            start(self, *rest)

        Speed.on_train_start = on_train_start  # type: ignore[method-assign]

    child = imgrec(*words, before=in_the_second_run)
    said = refusal(child)
    assert "2 of 3 runs failed; " in said
    told = [line for line in child.log.read_text().splitlines() if line.startswith("failed: ")]
    assert len(told) == 2
    assert all("No space left on device" in line for line in told)
    (first,) = (path.parent for path in (small / "sweep").glob("*/record.json") if "seed-0" in str(path))
    assert '"status": "finished"' in (first / "record.json").read_text()
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    (small / "filler").unlink()
    again = imgrec(*words)
    assert again.wait() == 0, again.log.read_text()
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    assert len(list((small / "sweep").glob("*/record.json"))) == 3
    outcome("disk full in the second of three runs", f"{said}; the first untouched, the same command ends the others")


@pytest.mark.long
def test_a_read_only_disk(
    tiny: list[str],
    imgrec: Callable[..., Any],
    disk: Callable[..., Path],
    outcome: Callable[[str, str], None],
) -> None:
    shelf = disk("ro,size=1m")
    said = refusal(imgrec("train", *tiny, *WORDS, f"hydra.run.dir={shelf}/run"))
    assert f"{shelf}/run must be a folder that can be written to, got: Read-only file system" in said
    said_m = refusal(imgrec("train", "-m", *tiny, *WORDS, "seed=0,1", f"hydra.sweep.dir={shelf}/sweep"))
    assert "Read-only file system" in said_m
    outcome("read-only disk", said)
    outcome("read-only disk, a sweep", said_m)
