"""Test that TensorBoard's curves of a killed and resumed run equal those of an undisturbed one."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import steps_logged
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = ("train/step_loss", "train/top1", "val/top1", "lr", "hp/test_top1_best")


def curves(folder: Path) -> dict[str, list[tuple[int, str]]]:
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    return {tag: [(event.step, repr(event.value)) for event in board.Scalars(tag)] for tag in TAGS}


@pytest.mark.parametrize("signum", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.long
def test_the_curves_go_on_without_doubled_or_missing_steps(
    tiny: list[str],
    imgrec: Callable[..., Any],
    workplace: Path,
    outcome: Callable[[str, str], None],
    signum: signal.Signals,
) -> None:
    words = ["train", *tiny, "trainer.max_epochs=4", "trainer.tensorboard=true", "schedule=cosine"]
    words.append("trainer.checkpoint_every=3")
    straight, cut = workplace / "straight", workplace / "cut"
    assert imgrec(*words, f"hydra.run.dir={straight}").wait() == 0
    for step in (11, 27):
        child = imgrec(*words, f"hydra.run.dir={cut}")
        assert child.signal_when(lambda step=step: steps_logged(cut) >= step, signum) in (-9, 143)
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    one, other = curves(straight), curves(cut)
    for tag in TAGS:
        assert other[tag] == one[tag], tag
        assert [step for step, _ in other[tag]] == sorted({step for step, _ in other[tag]} or [0])
    outcome(f"{signum.name} twice, TensorBoard on", "its curves equal the undisturbed run's, step by step")


@pytest.mark.long
def test_a_run_finishes_though_the_columns_of_hparams_cannot_be_written(
    tiny: list[str], command: Callable[..., tuple[int, str, str]], outcome: Callable[[str, str], None]
) -> None:
    words = ["train", *tiny, "trainer.max_epochs=1", "trainer.tensorboard=true"]
    assert command(*words)[0] == 0
    (columns,) = Path("outputs/default").glob("hparams-*")
    (run,) = Path("outputs/default").glob("*seed-0*")
    shutil.rmtree(columns)
    shutil.rmtree(run)
    columns.write_text("a file in the way")
    code, out, err = command(*words)
    assert (code, out.splitlines()[0]) == (0, f"finished: {run}")
    (said,) = [line for line in err.splitlines() if "HPARAMS" in line]
    assert "so that TensorBoard's HPARAMS stays as it was: File exists; " in said
    outcome("a file in the way of TensorBoard's HPARAMS columns", f"exit 0, the run is finished: {said}")
