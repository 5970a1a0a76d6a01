"""Test that files of an older version can be read, measured, tabulated and continued.

older/make.py wrote older/runs.tar.xz at the commit that the records name.
"""

import csv
import json
import runpy
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, state

import imgrec as public
from imgrec import records

Said = tuple[int, str, str]
OLDER = Path(__file__).parent / "older"
MADE = runpy.run_path(str(OLDER / "make.py"))
NEWER = ("balanced_accuracy", "macro_f1")  # metrics that these runs do not have
OTHER_CODE = "code=ignore"  # a run in the middle is not gone on with by other code unless that is allowed


@pytest.fixture
def older(workplace: Path) -> Path:
    """A copy of the older runs and their images, as the working folder."""
    with tarfile.open(OLDER / "runs.tar.xz") as packed:
        packed.extractall(workplace, filter="data")
    return workplace


def test_each_record_is_read_and_its_network_gives_its_scores(older: Path, command: Callable[..., Said]) -> None:
    finished = [path for path in sorted(older.rglob("record.json")) if records.read(path).status == "finished"]
    assert len(finished) == 4 + 3 + 3 + 3
    for name in MADE["RUNS"]:
        trained = public.load(older / "whole" / name)
        assert list(trained.classes) == ["column", "diagonal", "row"]
        assert trained.network(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    for name in ("average",):
        code, _, err = command("evaluate", f"whole/{name}", "-o", f"{name}.json")
        assert code == 0, err
        again = json.loads((older / f"{name}.json").read_text())["scores"]
        recorded = records.read(older / "whole" / name / "record.json")
        for row in again:
            score = recorded.score(row["metric"], split=row["split"], at=row["at"])
            if row["metric"] in NEWER:
                assert score is None
                continue
            assert score is not None
            assert row["value"] == pytest.approx(score.value, rel=1e-4)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in ("average", "distributed"))) for name in MADE["RUNS"]],
)
@pytest.mark.long
def test_a_cut_run_goes_on_and_ends_as_the_whole_one(name: str, older: Path, imgrec: Callable[..., Any]) -> None:
    """The bits are equal wherever the present version repeats the whole run bit for bit: similar CPU and libraries."""
    for kind in ("cut", "repeated"):
        child = imgrec("train", *MADE["BASE"], *MADE["RUNS"][name], f"hydra.run.dir={kind}/{name}", OTHER_CODE)
        assert child.wait() == 0, child.log.read_text()
    whole, cut, repeated = (older / kind / name for kind in ("whole", "cut", "repeated"))
    ids = {records.read(folder / "record.json").run_id for folder in (whole, cut, repeated)}
    assert len(ids) == 1
    if records.read(whole / "record.json").weights == records.read(repeated / "record.json").weights:
        assert_same_run(whole, cut, newer=NEWER)
    for key, value in state(whole)["state_dict"].items():
        torch.testing.assert_close(state(cut)["state_dict"][key], value, rtol=1e-2, atol=1e-3)


@pytest.mark.long
def test_a_half_done_sweep_is_tabled_as_it_was_and_does_the_rest(older: Path, command: Callable[..., Said]) -> None:
    code, out, _ = command("table", "sweep", "--format", "csv")
    assert code == 0
    now, then = (list(csv.DictReader(text.splitlines())) for text in (out, (older / "sweep.csv").read_text()))
    assert [{key: row[key] for key in old} for row, old in zip(now, then, strict=True)] == then
    finished = {path: path.stat().st_mtime_ns for path in older.glob("sweep/optimizer-sgd*/*.json")}
    code, _, err = command("train", *MADE["SWEEP"], OTHER_CODE)
    assert code == 0, err
    assert "6 runs: 3 finished, 1 to resume, 2 to do" in err
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.slow
def test_a_tuned_sweep_keeps_what_won(older: Path, command: Callable[..., Said]) -> None:
    tuned = (older / "tuned/tuning.json").read_text()
    code, _, err = command("train", *MADE["TUNED"], OTHER_CODE)
    assert code == 0, err
    assert "2 runs that tune: 2 finished" in err
    assert "2 runs: 1 finished, 1 to resume" in err
    assert json.loads((older / "tuned/tuning.json").read_text()) == json.loads(tuned)


@pytest.mark.long
def test_a_search_goes_on_with_its_trials(older: Path, command: Callable[..., Said]) -> None:
    code, _, err = command("train", *MADE["SEARCH"], "sweep.trials=4", OTHER_CODE)
    assert code == 0, err
    assert "4 trials: 3 finished, 1 to do" in err


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE["RUNS"])
def test_a_whole_run_is_verified(name: str, older: Path, imgrec: Callable[..., Any]) -> None:
    """The result is bit-equal, or, with another CPU or other libraries, a number that deviates; but no error."""
    child = imgrec("verify", f"whole/{name}")
    assert child.wait() in (0, 1)
    assert "bit-equal: weights" in child.log.read_text() or "differs" in child.log.read_text(), child.log.read_text()


def test_the_tensors_of_the_networks_keep_names_and_shapes(older: Path) -> None:
    assert MADE["parameters"]() == json.loads((older / "parameters.json").read_text())
