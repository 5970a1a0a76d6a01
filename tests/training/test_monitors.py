"""Test the callbacks that observe a training, and the one that limits its time."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from runs import ended_at, state

from imgrec import launch, verify
from imgrec.config.compose import compose
from imgrec.config.identity import run_id
from imgrec.curve_file import read_curves
from imgrec.errors import Interrupted, UsageError
from imgrec.training.progress import Speed

TWO = "trainer.max_epochs=2"  # 8 steps each
WATCHED = (TWO, "callbacks=[lr_monitor,device_stats]", "callback.lr_monitor.every=3", "callback.device_stats.every=4")


def rows(folder: Path, split: str, metric: str) -> dict[int, float]:
    found = read_curves(folder / "curves.csv")
    return {int(row["step"]): float(row["value"]) for row in found if (row["split"], row["metric"]) == (split, metric)}


@pytest.mark.long
def test_the_rate_of_each_group_is_logged_under_its_step(tiny: list[str]) -> None:
    words = ["optimizer=muon", "schedule=linear", "callback.lr_monitor.log_momentum=true"]
    run = launch.train([*tiny, *words, TWO, "callbacks=[lr_monitor]", "callback.lr_monitor.every=4"])
    groups = state(run.folder)["optimizer_states"][0]["param_groups"]
    assert len(groups) > 1
    logged = {row["metric"] for row in read_curves(run.folder / "curves.csv") if row["metric"].startswith("lr-")}
    rates = sorted(name for name in logged if name.rpartition("-")[2].startswith("pg"))
    assert len(rates) == len(groups)
    for name in rates:
        found = rows(run.folder, "train", name)
        assert sorted(found) == [4, 8, 12, 16]
        assert found[8] / found[4] == pytest.approx((1 - 7 / 16) / (1 - 3 / 16))
    first = rows(run.folder, "train", rates[0])
    assert first[8] in rows(run.folder, "train", "lr").values()
    assert any(name.endswith("-momentum") for name in logged)


def test_the_use_of_the_cpu_is_logged(tiny: list[str]) -> None:
    run = launch.train([*tiny, *WATCHED])
    found = rows(run.folder, "device", "cpu_vm_percent")
    assert sorted(found) == [4, 8, 12, 16]
    assert all(0 < share <= 100 for share in found.values())


@pytest.mark.long
def test_watching_changes_nothing_and_a_killed_run_doubles_no_row(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path]
) -> None:
    words = [*WATCHED, "trainer.checkpoint_every=3"]
    child = imgrec("train", *tiny, *words, "hydra.run.dir=cut", before=lambda: ended_at(11, signal.SIGKILL))
    assert child.wait() == -9, child.log.read_text()
    assert imgrec("train", *tiny, *words, "hydra.run.dir=cut").wait() == 0
    straight, cut = undisturbed(TWO), Path("cut")
    lines = (cut / "curves.csv").read_text().splitlines(keepends=True)
    watched = [line for line in lines if ",device," in line or ",lr-" in line]
    keys = [line.split(",")[:4] for line in watched]
    assert len(keys) == 3 * 4 + 5 * len({key[3] for key in keys if key[2] == "train"})
    assert len({tuple(key) for key in keys}) == len(keys)
    others = [line for line in lines if line not in watched and "images_per_second" not in line]
    expected = (straight / "curves.csv").read_text().splitlines(keepends=True)
    assert others == [line for line in expected if "images_per_second" not in line]
    one, other = state(straight), state(cut)
    assert all(torch.equal(one["state_dict"][name], value) for name, value in other["state_dict"].items())
    assert run_id(compose([*tiny, *words]), "") == run_id(compose([*tiny, TWO]), "")


@pytest.mark.long
def test_a_verification_does_not_compare_the_use_of_the_machine(tiny: list[str]) -> None:
    launch.train([*tiny, *WATCHED, "hydra.run.dir=run"])
    assert "bit-equal" in verify.verify("run").text


@pytest.mark.parametrize(("interval", "steps"), [("epoch", 8), ("step", 6)])
@pytest.mark.long
def test_a_timer_ends_the_training_and_counts_on_after_an_interruption(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, interval: str, steps: int
) -> None:
    """Each step takes a second by the timer's clock, which is read before the second of its step is over."""
    from lightning.pytorch.callbacks import timer

    clock, cut = [0.0], [3]
    step_ended = Speed.on_train_batch_end

    def on_train_batch_end(self: Speed, trainer: Any, *rest: Any) -> None:
        step_ended(self, trainer, *rest)
        clock[0] += 1
        if trainer.global_step in cut:
            cut.clear()
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(timer, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Speed, "on_train_batch_end", on_train_batch_end)
    words = [*tiny, TWO, "callbacks=[timer]", f"callback.timer.interval={interval}", "hydra.run.dir=run"]
    words.append("callback.timer.duration='00:00:00:05'")
    with pytest.raises(Interrupted):
        launch.train(words)
    clock[0] = 100.0
    record = launch.train(words).record
    assert (record.status, record.progress["steps"]) == ("finished", steps)


def test_a_timer_is_part_of_the_id() -> None:
    words = ["data=digits", "callbacks=[timer]"]
    ids = {run_id(compose(chosen), "") for chosen in (words[:1], words, [*words, "callback.timer.interval=step"])}
    assert len(ids) == 3


def test_a_time_that_has_no_form_is_refused() -> None:
    for duration in ("1h", "00:00:00", "00:00:00:00"):
        with pytest.raises(UsageError, match="must have the form DD:HH:MM:SS and be more than 0, got"):
            compose(["callbacks=[timer]", f"callback.timer.duration='{duration}'"])
    assert compose(["callbacks=[timer]", "callback.timer.duration='00:00:30:00'"])
