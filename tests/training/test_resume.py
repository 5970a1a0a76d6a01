"""A run that was interrupted and goes on ends bit for bit as the one that was not."""

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from imgrec import launch
from imgrec.errors import UsageError
from imgrec.training.curves import read as read_curves

RICH = ("trainer.max_epochs=4", "model.dropout=0.3", "augment=crop_flip", "trainer.ema_decay=0.8", "schedule=cosine")


def steps_logged(folder: Path) -> int:
    path = folder / "curves.csv"
    return max((int(row["step"]) for row in read_curves(path)), default=0) if path.exists() else 0


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal to the last bit, all the way down; clocks excepted."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key != "Speed":
                assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for k, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{k}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, optimizer, schedule, average, metrics, random state, curves and scores."""
    assert_same(state(one), state(other))
    records = [json.loads((folder / "record.json").read_text()) for folder in (one, other)]
    for key in ("weights", "scores", "progress", "run_id", "status"):
        assert records[0][key] == records[1][key], key
    curves = [
        [row for row in csv.reader((folder / "curves.csv").open()) if row[3] != "images_per_second"]
        for folder in (one, other)
    ]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_run_ends_as_the_undisturbed_one(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path, workers: int, signum: int, code: int
) -> None:
    words = ["train", *tiny, *RICH, f"data.num_workers={workers}"]
    straight, cut = workplace / "straight", workplace / "cut"
    assert imgrec(*words, f"hydra.run.dir={straight}").wait() == 0
    child = imgrec(*words, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signum) == code  # 8 steps an epoch
    if signum != signal.SIGKILL:
        assert json.loads((cut / "record.json").read_text())["status"] == "interrupted"
        position = state(cut)["ImageData"]
        assert position["epoch"] == 1
        assert 3 <= position["batch"] < 8, "it should have been interrupted in the middle of the second epoch"
        assert "interrupted by SIG" in child.log.read_text().splitlines()[-1]
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(straight, cut)


def test_the_number_of_workers_may_change_when_a_run_goes_on(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    words = ["train", *tiny, *RICH]
    straight, cut = workplace / "straight", workplace / "cut"
    assert imgrec(*words, f"hydra.run.dir={straight}").wait() == 0
    child = imgrec(*words, f"hydra.run.dir={cut}", "data.num_workers=2")
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signal.SIGTERM) == 143
    assert imgrec(*words, f"hydra.run.dir={cut}").wait() == 0
    one, other = state(straight), state(cut)
    for checkpoint in (one, other):
        del checkpoint["imgrec"]["config"]["data.num_workers"]
    assert_same(one, other)


def test_a_run_interrupted_between_two_checkpoints_goes_on_from_a_step(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    words = ["train", *tiny, *RICH, "trainer.checkpoint_every=3", "trainer.accumulate=2"]
    straight, cut = workplace / "straight", workplace / "cut"
    assert imgrec(*words, f"hydra.run.dir={straight}").wait() == 0
    child = imgrec(*words, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= 7, signal.SIGKILL) == -9
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(straight, cut)


def test_resume_names_the_run_and_needs_no_other_word(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    child = imgrec("train", *tiny, *RICH)
    folder = launch.runfolder.locate(launch.compose([*tiny, *RICH]), [*tiny, *RICH])
    assert child.signal_when(lambda: steps_logged(folder) >= 11, signal.SIGTERM) == 143
    (outcome,) = launch.train([f"resume={folder}"])
    assert outcome.folder == folder
    assert outcome.record.status == "finished"
    assert outcome.record.progress["steps"] == 32


def test_a_changed_configuration_is_refused_with_the_difference(tiny: list[str], workplace: Path) -> None:
    (outcome,) = launch.train([*tiny, "trainer.max_epochs=1"])
    before = {path: path.stat().st_mtime_ns for path in workplace.rglob("*")}
    with pytest.raises(UsageError, match=r"optimizer\.lr 0\.001 -> 0\.1\); drop the change, or allow it with"):
        launch.train([f"resume={outcome.folder}", "optimizer.lr=0.1"])
    with pytest.raises(UsageError, match=r"loss\.name cross_entropy -> focal"):
        launch.train([f"resume={outcome.folder}", "loss=focal"])
    assert {path: path.stat().st_mtime_ns for path in workplace.rglob("*")} == before


def test_an_allowed_change_goes_on_in_a_new_folder(tiny: list[str], workplace: Path) -> None:
    (short,) = launch.train([*tiny, "trainer.max_epochs=2"])
    (longer,) = launch.train([f"resume={short.folder}", "trainer.max_epochs=3", "resume_override=[trainer.max_epochs]"])
    (straight,) = launch.train([*tiny, "trainer.max_epochs=3"])
    assert longer.folder != short.folder
    assert longer.record.parent == str(short.folder)
    assert longer.record.progress["steps"] == 24
    # the same run, as far as its id is concerned; constant rate: the same weights, too
    assert straight.folder == longer.folder
    assert short.record.status == "finished"
    assert json.loads((short.folder / "record.json").read_text())["progress"]["steps"] == 16


def test_a_changed_rate_and_decay_take_effect_when_they_are_allowed(tiny: list[str], workplace: Path) -> None:
    (short,) = launch.train([*tiny, "trainer.max_epochs=1"])
    (other,) = launch.train(
        [
            f"resume={short.folder}",
            "trainer.max_epochs=2",
            "optimizer.lr=0.5",
            "optimizer.weight_decay=0.25",
            "resume_override=[trainer.max_epochs,optimizer.lr,optimizer.weight_decay]",
        ]
    )
    (group,) = state(other.folder)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0.5
    assert group["weight_decay"] == 0.25


def test_a_run_whose_training_is_over_only_reads_its_scores(
    tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgrec.training import run

    read = run.final.read

    def fail(*arguments: Any) -> Any:
        raise OSError("the disk went away")

    monkeypatch.setattr(run.final, "read", fail)
    with pytest.raises(OSError, match="went away"):
        launch.train([*tiny, "trainer.max_epochs=1"])
    monkeypatch.setattr(run.final, "read", read)
    config = launch.compose([*tiny, "trainer.max_epochs=1"])
    folder = launch.runfolder.locate(config, [*tiny, "trainer.max_epochs=1"])
    record = launch.runfolder.look(folder)
    assert record is not None
    assert (record.status, record.error) == ("failed", "OSError: the disk went away")
    weights = (folder / "checkpoints/last.ckpt").read_bytes()
    (outcome,) = launch.train([*tiny, "trainer.max_epochs=1"])
    assert outcome.record.status == "finished"
    assert outcome.record.error is None
    assert (folder / "checkpoints/last.ckpt").read_bytes() == weights
