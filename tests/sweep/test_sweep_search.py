"""Test sweep=optuna: a search that a repeated command continues."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from runs import one_line

from imgrec.sweeps import search
from imgrec.training import run as room

Said = tuple[int, str, str]
SWEEP = Path("outputs/default")
SPACE = ("optimizer.lr=tag(log, interval(0.0001, 0.1))", "optimizer=sgd,adam", "model.hidden=range(8,25,8)")


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    rest = [word for word in tiny if not word.startswith(("optimizer=", "model.hidden="))]
    return [*rest, "trainer.max_epochs=1", "sweep=optuna", *SPACE]


def trials(*states: TrialState) -> list[Any]:
    study = optuna.load_study(study_name="imgrec", storage=f"sqlite:///{SWEEP / 'optuna.db'}")
    return study.get_trials(states=states or None)


@pytest.mark.long
def test_as_many_trials_as_asked_for_each_with_a_run_of_its_own(command: Callable[..., Said], words: list[str]) -> None:
    code, _, err = command("train", "-m", *words, "sweep.trials=4")
    assert code == 0, err
    assert len(trials()) == len(trials(TrialState.COMPLETE)) == 4
    records = {path.parent.name: json.loads(path.read_text()) for path in SWEEP.glob("*/record.json")}
    assert len(records) == 4
    by_run = {record["config"]["optimizer.lr"]: record for record in records.values()}
    for trial in trials():
        record = by_run[float(f"{trial.params['optimizer.lr']:.6g}")]
        assert 0.0001 <= trial.params["optimizer.lr"] <= 0.1
        assert record["config"]["model.hidden"] == trial.params["model.hidden"] in (8, 16, 24)
        assert record["config"]["optimizer.name"] == trial.params["optimizer"]
        assert record["config"]["test"] is False
        assert {score["split"] for score in record["scores"]} == {"val"}
        (best,) = (s["value"] for s in record["scores"] if (s["metric"], s["at"]) == ("top1", "best"))
        assert trial.value == best
    assert "search: the best of 4 trials: " in err
    assert [line for line in err.splitlines() if " trials: " in line and "best" not in line] == ["4 trials: 4 to do"]
    assert re.findall(r"\[(\d/\d)\] finished", err) == ["1/4", "2/4", "3/4", "4/4"]
    assert (SWEEP / "multirun.yaml").is_file()

    assert command("train", "-m", *words, "sweep.trials=4")[0] == 0
    assert len(trials()) == 4, "the search was over"
    code, _, err = command("train", "-m", *words, "sweep.trials=6")
    assert code == 0
    assert "6 trials: 4 finished, 2 to do, about " in err
    assert "[4/6] running " in err
    assert len(trials(TrialState.COMPLETE)) == 6
    assert len(list(SWEEP.glob("*/record.json"))) == 6, "no proposal was made twice"


@pytest.mark.long
def test_a_trial_whose_run_fails_has_failed_and_ends_nothing(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_and_read = room.fit_and_read
    count = 0

    def second_fails(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise ValueError("diverged")
        fit_and_read(*arguments)

    monkeypatch.setattr(room, "fit_and_read", second_fails)
    code, _, err = command("train", "-m", *words, "sweep.trials=3")
    assert code == 1
    assert re.search(r"failed: \S+: ValueError: diverged", err)
    assert "1 of 3 runs failed; " in one_line(err)
    assert [trial.state for trial in trials()] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    code, out, err = command("train", "-m", *words, "sweep.trials=3")
    assert code == 1, "the failure is told of again"
    assert out.startswith("3 runs in ")
    assert "3 trials: 2 finished, 1 failed" in err
    code, _, err = command("train", "-m", *words, "sweep.trials=3", "sweep.retry_failed=true")
    assert code == 0, err
    assert len(trials(TrialState.COMPLETE)) == 3
    assert len(list(SWEEP.glob("*/record.json"))) == 3


@pytest.mark.long
def test_a_proposal_that_is_no_run_is_a_failed_trial_and_no_end(command: Callable[..., Said], tiny: list[str]) -> None:
    words = [*tiny, "trainer.max_epochs=1", "sweep=optuna", "sweep.trials=4", "model.widths=[4,8],[8,8,8,8,8]"]
    code, _, err = command("train", "-m", *words)
    assert code == 0, err
    states = [trial.state for trial in trials()]
    assert len(states) == 4
    assert states.count(TrialState.FAIL) == err.count("proposed what cannot be: data.image_size must be") > 0
    assert command("train", "-m", *words)[0] == 0
    assert len(trials()) == 4
    code, _, err = command("train", "-m", *words, "sweep.trials=1")
    assert code == 0
    done, refused = states.count(TrialState.COMPLETE), states.count(TrialState.FAIL)
    assert f"4 trials: {done} finished, {refused} refused" in err


@pytest.mark.long
def test_a_study_is_narrowed_by_the_command_also_for_a_search(command: Callable[..., Said], workplace: Path) -> None:
    words = ["study=tiny", "trainer=cpu", "trainer.threads=1", "trainer.tensorboard=false", "sweep=optuna"]
    words += ["model.widths=[4,8]", "model.hidden=16"]
    words += ["optimizer=adam", "seed=3", "optimizer.lr=interval(0.0001,0.01)", "sweep.trials=2"]
    code, _, err = command("train", *words)
    assert code == 0, err
    records = [json.loads(path.read_text()) for path in Path("outputs/tiny").glob("*/record.json")]
    assert {(record["config"]["optimizer.name"], record["config"]["seed"]) for record in records} == {("adam", 3)}


@pytest.mark.long
def test_on_error_stop_ends_a_search_at_its_first_failure(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> None:
        raise ValueError("diverged")

    monkeypatch.setattr(room, "fit_and_read", fails)
    code, _, err = command("train", "-m", *words, "sweep.trials=3", "sweep.on_error=stop")
    assert code == 1
    assert "1 of 3 runs failed, 2 not begun; " in one_line(err)
    assert len(trials()) == 1


@pytest.mark.long
def test_a_proposal_that_was_made_before_takes_the_value_of_its_run(
    command: Callable[..., Said], tiny: list[str]
) -> None:
    words = [*tiny, "trainer.max_epochs=1", "sweep=optuna", "sweep.trials=4", "model.dropout=0.0,0.00"]
    code, _, err = command("train", "-m", *words)
    assert code == 0, err
    assert len(trials(TrialState.COMPLETE)) == 4
    assert len({trial.value for trial in trials()}) == 1
    assert len(list(SWEEP.glob("*/record.json"))) == 1
    code, _, err = command("train", "-m", *words[:-2], "sweep.trials=6", words[-1])
    assert code == 0, err
    assert "6 trials: 4 finished, 2 to do, about " in err
    assert len(trials(TrialState.COMPLETE)) == 6


@pytest.mark.parametrize(("count", "kills"), [(3, 1), pytest.param(12, 2, marks=[pytest.mark.timeout(900)])])
@pytest.mark.slow
def test_a_search_that_is_killed_ends_with_its_trials_none_twice(
    imgrec: Callable[..., Any], words: list[str], workplace: Path, count: int, kills: int
) -> None:
    arguments = ["train", "-m", *words, f"sweep.trials={count}"]
    for kill in range(kills):
        child = imgrec(*arguments)
        enough = 1 + kill * count // (kills + 1)
        assert child.signal_when(lambda enough=enough: begun() > enough, signal.SIGKILL) == -signal.SIGKILL
    child = imgrec(*arguments)
    assert child.wait() == 0, child.log.read_text()
    done = trials(TrialState.COMPLETE)
    assert len(done) == len(trials()) == count
    runs = list(SWEEP.glob("*/record.json"))
    assert len(runs) == count
    assert {json.loads(path.read_text())["status"] for path in runs} == {"finished"}
    assert len({tuple(trial.params.items()) for trial in done}) == count


def begun() -> int:
    return len(list(SWEEP.glob("*/record.json")))


@pytest.mark.long
def test_a_trial_that_was_cut_off_before_it_had_a_run_counts_for_nothing(
    imgrec: Callable[..., Any], words: list[str]
) -> None:
    def dies_asking() -> None:
        search._ask = lambda study, space: (study.ask(space), os._exit(9))  # type: ignore[func-returns-value]

    arguments = ["train", "-m", *words, "sweep.trials=1"]
    assert imgrec(*arguments, before=dies_asking).wait() == 9
    assert imgrec(*arguments).wait() == 0
    assert [trial.state for trial in trials()] == [TrialState.FAIL, TrialState.COMPLETE]


@pytest.mark.long
def test_another_search_in_the_same_folder_is_refused(command: Callable[..., Said], words: list[str]) -> None:
    assert command("train", "-m", *words, "sweep.trials=1")[0] == 0
    code, _, err = command("train", "-m", *words, "sweep.trials=1", "model.dropout=0.1")
    assert code == 2
    assert f"{SWEEP} holds a search for " in one_line(err)
    assert "give another hydra.sweep.dir" in one_line(err)


def test_a_search_without_a_space_is_refused(command: Callable[..., Said], tiny: list[str]) -> None:
    code, _, err = command("train", "-m", *tiny, "sweep=optuna")
    assert code == 2
    assert "sweep=optuna needs something to search" in one_line(err)
    assert not Path("outputs").exists()


def test_a_search_for_the_easiest_fold_is_refused(command: Callable[..., Said], words: list[str]) -> None:
    code, _, err = command("train", "-m", *words, "data.val_size=0.1", "data.folds=2", "data.fold=0,1")
    assert code == 2
    assert "would look for the fold that is easiest to classify, got data.fold=0,1; search with one" in one_line(err)
    assert not Path("outputs").exists()


def test_without_optuna_the_way_out_is_named(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = command("train", "-m", *words)
    assert code == 1
    assert (
        "sweep=optuna needs the package optuna, which is not installed; in the clone, pip install -e '.[search]'" in err
    )
