"""sweep=tuned: values for each choice out of validation, then the runs with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line

from imgrec.training import run as room

Said = tuple[int, str, str]
SWEEP = Path("outputs/default")
TUNE = ("sweep=tuned", 'sweep.tune=["optimizer.lr_scale=0.01,1,100"]', "sweep.tune_seeds=[7,8]")


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    return [*tiny, "trainer.max_epochs=1", *TUNE]


def records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in SWEEP.glob("*/record.json")]


def test_each_choice_is_tuned_on_validation_alone_and_then_run_with_what_won(
    command: Callable[..., Said], words: list[str]
) -> None:
    code, _, err = command("train", "-m", *words, "optimizer=sgd,adam", "seed=0,1,2")
    assert code == 0
    tries = [row for row in records() if not row["config"]["test"]]
    finals = [row for row in records() if row["config"]["test"]]
    budget = {(name, scale, seed) for name in ("sgd", "adam") for scale in (0.01, 1.0, 100.0) for seed in (7, 8)}
    assert {(t["config"]["optimizer.name"], t["config"]["optimizer.lr_scale"], t["config"]["seed"]) for t in tries} == (
        budget
    )
    assert all(score["split"] != "test" for row in tries for score in row["scores"])
    assert len(finals) == 6
    for name in ("sgd", "adam"):
        means = {}
        for scale in (0.01, 1.0, 100.0):
            own = [row for row in tries if row["config"]["optimizer.name"] == name]
            scores = [
                score["value"]
                for row in own
                if row["config"]["optimizer.lr_scale"] == scale
                for score in row["scores"]
                if (score["metric"], score["at"]) == ("top1", "best")
            ]
            assert len(scores) == 2
            means[scale] = sum(scores) / 2
        best = max(means, key=lambda scale: means[scale])
        chosen = {row["config"]["optimizer.lr_scale"] for row in finals if row["config"]["optimizer.name"] == name}
        assert chosen == {best}, means
        assert f"tuning: optimizer={name}: optimizer.lr_scale={best:g} with a mean validation top1" in err
        at_the_end = f"optimizer={name}: optimizer.lr_scale={best:g} is at an end of the values tried" in err
        assert at_the_end == (best != 1.0)
    assert "12 runs that tune: 12 to do" in err
    assert "6 runs: 6 to do" in err
    assert len(json.loads((SWEEP / "tuning.json").read_text())) == 2

    before = {path: path.stat().st_mtime_ns for path in SWEEP.rglob("*") if "-" in path.name}
    code, _, err = command("train", "-m", *words, "optimizer=sgd,adam", "seed=0,1,2")
    assert code == 0
    assert "12 runs that tune: 12 finished" in err
    assert "6 runs: 6 finished" in err
    assert {path: path.stat().st_mtime_ns for path in SWEEP.rglob("*") if "-" in path.name} == before


def test_a_value_that_fails_is_passed_over_and_a_choice_without_any_has_no_runs(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out = room._carry_out

    def some_fail(record, config, *rest) -> None:  # type: ignore[no-untyped-def]
        if config.optimizer.lr_scale == 100 or config.optimizer.name == "sgd":
            raise ValueError("diverged")
        carry_out(record, config, *rest)

    monkeypatch.setattr(room, "_carry_out", some_fail)
    code, out, err = command("train", "-m", *words, "optimizer=sgd,adam", "seed=0")
    assert code == 1
    assert out.startswith("1 run in ")
    assert "failed: optimizer=sgd: no value that was tried got through, so that it has no runs: diverged" in err
    assert one_line(err) == (
        "imgrec: 1 choice has no runs; the same command with sweep.retry_failed=true tries again what failed"
    )
    assert "tuning: optimizer=adam: 2 of 6 tries failed and were passed over, the first in " in err
    assert "12 runs that tune: 12 to do" in err
    assert "/13] finished" in err
    rows = {" ".join(row["choice"]): row["chosen"] for row in json.loads((SWEEP / "tuning.json").read_text())}
    assert {"optimizer=sgd" in choice: chosen is None for choice, chosen in rows.items()} == {True: True, False: False}
    (final,) = (row for row in records() if row["config"]["test"])
    assert final["config"]["optimizer.name"] == "adam"
    assert final["config"]["optimizer.lr_scale"] in (0.01, 1.0)


def test_what_is_tuned_cannot_be_given_as_well(command: Callable[..., Said], words: list[str]) -> None:
    code, _, err = command("train", "-m", *words, "optimizer.lr_scale=1", "seed=0,1")
    assert code == 2
    assert "sweep.tune tries values of optimizer.lr_scale, which the command gives; drop one" in err


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("sweep.tune=[]", "sweep.tune must name what is tried, got []"),
        ("sweep.tune_seeds=[]", "sweep.tune_seeds must name seeds, each once, got []"),
        ("sweep.tune_seeds=[1,1]", "sweep.tune_seeds must name seeds, each once, got [1, 1]"),
        ("sweep.tune_seeds=[-1]", "sweep.tune_seeds must lie in [0,"),
        ('sweep.tune=["optimizer.lr=0"]', "optimizer.lr must be > 0"),
    ],
)
def test_a_tuning_that_cannot_be_is_refused_at_once(
    command: Callable[..., Said], words: list[str], word: str, sentence: str
) -> None:
    code, out, err = command("train", "-m", *words, word, "seed=0,1")
    assert (code, out) == (2, "")
    assert sentence in err
    assert not Path("outputs").exists()
