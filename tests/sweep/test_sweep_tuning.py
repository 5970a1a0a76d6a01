"""Test sweep=tuned: values for each choice by validation scores, then the runs with these values."""

import json
import math
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line

from imgrec import predictions, tuning_file
from imgrec import records as stored
from imgrec.errors import RunError
from imgrec.records import Record, Score
from imgrec.sweeps import tuning_steps
from imgrec.tables.gather import gather
from imgrec.tables.stored_predictions import StoredPredictions
from imgrec.training import run as room

Said = tuple[int, str, str]
SWEEP = Path("outputs/default")
RECORDED = "optimizer-sgd_loss-mse_seed-0-fd85db3b.json"
TUNE = ("sweep=tuned", 'sweep.tune=["optimizer.lr_scale=0.01,1,100"]', "sweep.tune_seeds=[7,8]")


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    return [*tiny, "trainer.max_epochs=1", *TUNE]


def records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in SWEEP.glob("*/record.json")]


def records_of(folder: Path) -> Record:
    return stored.read(folder / "record.json")


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


@pytest.mark.long
def test_a_value_that_fails_is_passed_over_and_a_choice_without_any_has_no_runs(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_and_read = room.fit_and_read

    def some_fail(record, job, *rest) -> None:  # type: ignore[no-untyped-def]
        if job.config.optimizer.lr_scale == 100 or job.config.optimizer.name == "sgd":
            raise ValueError("diverged")
        fit_and_read(record, job, *rest)

    monkeypatch.setattr(room, "fit_and_read", some_fail)
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
    ("values", "end", "next_one"),
    [
        ((0.1, 0.3, 1), 1, 3),
        ((0.1, 0.3, 1, 3), 3, 10),
        ((0.1, 0.3, 1), 0.1, 0.03),
        ((1, 10), 10, 100),
        ((0, 0.1, 0.2), 0.2, 0.3),
        ((0.1, 0.2, 0.3), 0.1, None),  # positive numbers stay positive
        ((0, 0.1, 0.2), 0, -0.1),
        ((0, 0.1, 1), 1, None),  # no pattern
        ((1,), 1, None),
        ((0.1, 0.3, 1), 0.3, None),  # inside
    ],
)
def test_the_next_value_goes_on_as_the_values_do(values: tuple[float, ...], end: float, next_one: float | None) -> None:
    found = tuning_steps.beyond([f"k={value:g}" for value in values], f"k={end:g}")
    assert found == (None if next_one is None else f"k={next_one:g}")


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """By optimizer: the rate that is best, of runs that are not trained. With an lr_scale above 20 they fail."""
    found = {"sgd": 1.0, "adam": 1.0}

    def scored(record, job, *rest) -> None:  # type: ignore[no-untyped-def]
        config = job.config
        if config.optimizer.lr_scale > 20:
            raise ValueError("diverged")
        rate = config.optimizer.lr * config.optimizer.lr_scale
        value = 1 / (1 + abs(math.log10(rate / found[config.optimizer.name])))
        common = {"split": "val", "protocol": "clean", "metric": "top1", "n": 12}
        record.scores = [Score(value=value, at="last", **common), Score(value=1 - value, at="best", **common)]
        room.close(record, job.folder, "finished")

    monkeypatch.setattr(room, "fit_and_read", scored)
    return found


def chosen() -> dict[str, list[str] | None]:
    rows = json.loads((SWEEP / "tuning.json").read_text())
    return {next(word for word in row["choice"] if word.startswith("optimizer=")): row["chosen"] for row in rows}


@pytest.mark.long
def test_values_are_tried_beyond_an_end_until_the_best_lies_inside(
    command: Callable[..., Said], tiny: list[str], peaks: dict[str, float]
) -> None:
    words = [*tiny, "sweep=tuned", 'sweep.tune=["optimizer.lr_scale=0.3,1,3"]', "sweep.extend=true"]
    words += ["sweep.tune_at=last", "optimizer=sgd,adam", "seed=0"]
    words += ['sweep.bases=["optimizer=sgd: optimizer.lr=0.3","optimizer=adam: optimizer.lr=0.01"]']
    peaks |= {"sgd": 1e9, "adam": 0.01}
    code, _, err = command("train", "-m", *words)
    assert code == 0, err
    assert chosen() == {"optimizer=sgd": ["optimizer.lr_scale=10"], "optimizer=adam": ["optimizer.lr_scale=1"]}
    assert "1 of 5 tries failed and were passed over" in err
    assert "at an end" not in err, "what fails beyond it bounds it"
    tried = {
        (row["config"]["optimizer.name"], row["config"]["optimizer.lr"], row["config"]["optimizer.lr_scale"])
        for row in records()
        if not row["config"]["test"]
    }
    assert tried == {
        *(("sgd", 0.3, scale) for scale in (0.3, 1, 3, 10, 30)),
        *(("adam", 0.01, scale) for scale in (0.3, 1, 3)),
    }
    assert {row["config"]["seed"] for row in records() if not row["config"]["test"]} == {100}
    finals = [row["config"] for row in records() if row["config"]["test"]]
    assert {config["optimizer.lr"] * config["optimizer.lr_scale"] for config in finals} == {3, 0.01}


@pytest.mark.long
def test_without_extension_an_end_is_told_with_the_way_out(
    command: Callable[..., Said], tiny: list[str], peaks: dict[str, float]
) -> None:
    words = [*tiny, "sweep=tuned", 'sweep.tune=["optimizer.lr_scale=0.3,1"]', "sweep.tune_at=last", "seed=0"]
    code, _, err = command("train", "-m", *words, "optimizer=adam")
    assert code == 0
    assert "optimizer.lr_scale=1 is at an end of the values tried; widen sweep.tune, or give sweep.extend=true" in err
    assert json.loads((SWEEP / "tuning.json").read_text())[0]["at_an_end"] == ["optimizer.lr_scale=1"]
    peaks |= {"adam": 0.004}
    code, _, err = command("train", "-m", *words, "sweep.extend=true", "optimizer=adam")
    assert code == 0
    assert chosen() == {"optimizer=adam": ["optimizer.lr_scale=3.33333"]}
    assert "2 runs that tune: 2 finished" in err
    _, out, _ = command("table", str(SWEEP), "--split", "val", "--at", "last")
    assert "at an end" not in out, "what was tuned last is what the table tells"
    assert "| 0.3 | 1 | 3.33333 | 11.1111 |" in out


@pytest.mark.long
def test_an_extension_ends_where_the_configuration_does(
    command: Callable[..., Said], tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def scored(record, job, *rest) -> None:  # type: ignore[no-untyped-def]
        common = {"split": "val", "protocol": "clean", "metric": "top1", "n": 12, "at": "last"}
        record.scores = [Score(value=job.config.model.dropout, **common)]
        room.close(record, job.folder, "finished")

    monkeypatch.setattr(room, "fit_and_read", scored)
    words = ["sweep=tuned", 'sweep.tune=["model.dropout=0,0.4,0.8"]', "sweep.extend=true", "seed=0"]
    code, _, err = command("train", "-m", *tiny, *words)
    assert code == 0
    assert "tuning: the run: no value beyond model.dropout=0.8: model.dropout must lie in [0, 1)" in err
    assert "model.dropout=0.8 is at an end of the values tried" in err


@pytest.mark.long
def test_a_seed_that_tunes_is_none_of_the_final_runs_by_default(
    command: Callable[..., Said], tiny: list[str], peaks: dict[str, float]
) -> None:
    words = [*tiny, "sweep=tuned", 'sweep.tune=["optimizer.lr_scale=1"]', "optimizer=sgd"]
    code, _, err = command("train", "-m", *words, "seed=99,100")
    assert code == 2
    assert "seed=100 must be no seed of the tuning, whose choice it would flatter" in err
    assert command("train", "-m", *words, "seed=99,100", "sweep.tune_seeds=[100]")[0] == 0


@pytest.mark.long
def test_a_folder_that_was_tuned_keeps_its_seeds(
    command: Callable[..., Said], tiny: list[str], peaks: dict[str, float]
) -> None:
    words = [*tiny, "sweep=tuned", 'sweep.tune=["optimizer.lr_scale=1"]']
    assert command("train", "-m", *words, "optimizer=sgd", "seed=0", "sweep.tune_seeds=[0]")[0] == 0
    code, _, err = command("train", "-m", *words, "optimizer=sgd", "seed=0,1")
    assert code == 0
    assert "1 run that tunes: 1 finished" in err
    assert "2 runs: 1 finished, 1 to do" in err
    assert "tuning: seed=0 is a seed of the tuning and a final one, as this folder was begun" in err
    code, _, err = command("train", "-m", *words, "optimizer=adam", "seed=0,1")
    assert code == 0
    rows = {
        next(word for word in row.choice if word.startswith("optimizer=")): row.seeds
        for row in tuning_file.read(SWEEP / tuning_file.NAME)
    }
    assert rows == {"optimizer=sgd": (0,), "optimizer=adam": (100,)}, "each choice its own"
    code, _, err = command("train", "-m", *words, "optimizer=adam", "seed=0,100")
    assert (code, "seed=100 must be no seed of the tuning" in err) == (2, True)


def test_a_base_that_the_command_gives_is_refused(command: Callable[..., Said], words: list[str]) -> None:
    code, _, err = command(
        "train",
        "-m",
        *words,
        'sweep.bases=["optimizer=sgd: optimizer.lr=1"]',
        "optimizer=sgd",
        "optimizer.lr=2",
        "seed=0,1",
    )
    assert code == 2
    assert "sweep.bases gives optimizer.lr, which the command gives; drop one" in err


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ("optimizer=sgdd: optimizer.lr=0.3", "optimizer in sweep.bases must be one of adafactor, adagrad, "),
        ("optimiser=sgd: optimizer.lr=0.3", "sweep.bases must name keys of a run, got 'optimiser=sgd'"),
        ("optimizer=sgd: seed=5", "sweep.bases must say what a choice is, got 'seed=5'"),
        ("optimizer=sgd: optimizer.lr_scale=10", "sweep.bases gives optimizer.lr_scale, whose values sweep.tune tries"),
    ],
)
def test_a_base_that_cannot_be_is_refused(
    command: Callable[..., Said], words: list[str], base: str, sentence: str
) -> None:
    code, _, err = command("train", "-m", *words, f'sweep.bases=["{base}"]', "optimizer=sgd", "seed=0,1")
    assert (code, sentence in err) == (2, True), err


@pytest.mark.long
def test_a_base_serves_what_a_recipe_chooses_and_one_without_a_run_is_told_of(
    command: Callable[..., Said], tiny: list[str], peaks: dict[str, float]
) -> None:
    words = [word for word in tiny if not word.startswith("optimizer=")]  # Adam is the default
    words += ["sweep=tuned", 'sweep.tune=["optimizer.lr_scale=1"]', "seed=0,1"]
    words += ['sweep.bases=["optimizer=adam: optimizer.lr=0.5","optimizer=sgd: optimizer.lr=0.3"]']
    code, _, err = command("train", "-m", *words)
    assert code == 0, err
    assert {row["config"]["optimizer.lr"] for row in records()} == {0.5}
    assert "sweep.bases: 'optimizer=sgd: optimizer.lr=0.3' is of no run of this sweep" in err


@pytest.mark.long
def test_records_that_lie_elsewhere_count_as_finished(
    command: Callable[..., Said], tiny: list[str], workplace: Path
) -> None:
    words = [*tiny, "trainer.max_epochs=1", "sweep=tuned", 'sweep.tune=["optimizer.lr_scale=0.1,1"]', "optimizer=adam"]
    assert command("train", "-m", *words, "seed=0,1")[0] == 0
    study = workplace / "study"
    keep = runpy.run_path(str(Path(__file__).parents[2] / "experiments/keep.py"))["main"]
    (second,) = SWEEP.glob("*seed-1-*")
    second.rename("second")
    lost = next(iter(SWEEP.glob("*seed-0-*"))) / predictions.NAME
    kept_aside = lost.read_bytes()
    lost.unlink()
    with pytest.raises(RunError, match=r"predictions\.npz"):
        keep(SWEEP, study)
    assert not study.exists(), "nothing is half kept"
    lost.write_bytes(kept_aside)
    assert keep(SWEEP, study) == "3 more records, 3 in all; 1 with predictions"
    assert {stored.read(path).config["data.root"] for path in study.glob("records/*.json")} == {"data"}
    tuning_file.write(
        study / tuning_file.NAME, [tuning_file.Tuned(choice=("optimizer=sgd",), chosen=None, seeds=(100,), tried={})]
    )
    assert keep(SWEEP, study) == "0 more records, 3 in all; 1 with predictions"
    assert len(tuning_file.read(study / tuning_file.NAME)) == 2, "tuned on another machine"
    shutil.rmtree("outputs")
    code, _, err = command("train", "-m", *words, "seed=0,1", f"sweep.known={study / 'records'}")
    assert code == 0, err
    assert "2 finished in study/records: their records are copied" in err.replace(f"{workplace}/", "")
    assert "2 runs that tune: 2 finished" in err
    assert "2 runs: 1 finished, 1 to do" in err
    assert len(list(SWEEP.glob("*/predictions.npz"))) == 2, "of the final runs; those that tune keep none"
    for one in gather([SWEEP]).runs:
        if one.record.config["test"]:
            assert StoredPredictions().of(one, ("test", "clean", "last")) is not None
    (again,) = SWEEP.glob("*seed-1-*")
    assert records_of(again).weights == records_of(Path("second")).weights
    assert command("table", str(SWEEP), "--scores", "top1,ece")[0] == 0
    code, _, err = command("train", "-m", *words, "seed=0,1", f"sweep.known={study / 'records'}")
    assert "copied" not in err
    assert "2 runs: 2 finished" in err


@pytest.mark.long
def test_a_folder_of_known_records_that_is_not_there_is_refused(command: Callable[..., Said], words: list[str]) -> None:
    code, _, err = command("train", "-m", *words, "optimizer=sgd,adam", "sweep.known=nowhere")
    assert code == 2
    assert (
        "sweep.known=nowhere must be a folder of records, and does not exist; make it, or leave sweep.known out" in err
    )
    Path("study/records").mkdir(parents=True)
    shutil.copy(Path(__file__).parents[2] / "experiments/report/records" / RECORDED, "study/records")
    code, _, err = command("train", "-m", *words, "optimizer=sgd,adam", "sweep.known=study")
    assert code == 2
    assert "sweep.known=study must be the folder of the records themselves, and holds none; give" in err
    assert "sweep.known=study/records" in err
    Path("nowhere").mkdir()
    (Path("nowhere") / "x.json").write_text("{}")
    code, _, err = command("train", "-m", *words, "optimizer=sgd,adam", "sweep.known=nowhere")
    assert code == 1
    assert "nowhere/x.json must be a record that imgrec wrote" in err


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("sweep.bases=[x]", "sweep.bases must hold texts such as 'optimizer=sgd: optimizer.lr=0.3', got 'x'"),
        ("sweep.tune_at=end", "sweep.tune_at must be one of best, last, got 'end'"),
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


@pytest.mark.long
def test_folds_are_not_tuned_one_by_one(command: Callable[..., Said], words: list[str]) -> None:
    folds = ["data.val_size=0.1", "data.folds=2"]
    code, out, err = command("train", "-m", *words, *folds, "data.fold=0,1")
    assert (code, out) == (2, "")
    assert "each fold has others, got data.fold=0, data.fold=1; tune with data.fold=0 alone, and give" in one_line(err)
    assert not Path("outputs").exists()
    assert command("train", "-m", *words, *folds, "data.fold=0", "sweep.estimate=true")[0] == 0
