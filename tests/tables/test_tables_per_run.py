"""Test `imgrec table --runs`: one row per run, as CSV and JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import lay, lay_sweep, of_csv, run, score

Said = tuple[int, str, str]


@pytest.fixture
def runs(runs: Path) -> Path:
    """Two optimizers, two seeds; one run failed, and a recipe's name would be a spreadsheet's formula."""
    lay_sweep(runs, {"optimizer=sgd": [0.5, "failed"], "optimizer=adam": [{"top1": 0.7, "loss": 1.5}]})
    lay(runs, run("optimizer=adam seed=1", score("top1", 0.8), study="=1+1", cost={"seconds": 2.5}))
    return runs


def test_each_run_is_a_line_with_its_scores(command: Callable[..., Said], runs: Path) -> None:
    code, out, err = command("table", str(runs), "--runs")
    assert (code, err) == (0, "")
    rows = {(row["optimizer.name"], row["seed"]): row for row in of_csv(out)}
    assert sorted(rows) == [("adam", "0"), ("adam", "1"), ("sgd", "0"), ("sgd", "1")]
    assert rows["adam", "0"]["test_loss_best"] == "1.5"
    assert rows["adam", "1"]["test_loss_best"] == ""
    assert rows["adam", "1"]["study"] == "'=1+1"
    assert rows["adam", "1"]["seconds"] == "2.5"
    assert (rows["sgd", "1"]["status"], rows["sgd", "1"]["test_top1_last"]) == ("failed", "")
    assert rows["sgd", "0"]["model.widths"] == "[32,64,128]"


def test_json_keeps_types(command: Callable[..., Said], runs: Path) -> None:
    code, out, err = command("table", str(runs), "--runs", "--where", "optimizer=adam", "-o", "runs.json")
    assert (code, out.strip(), err) == (0, "runs.json", "")
    rows = json.loads(Path("runs.json").read_text())
    assert [row["seed"] for row in rows] == [0, 1]
    assert rows[0]["model.widths"] == [32, 64, 128]
    assert (rows[0]["test_loss_best"], rows[1]["test_loss_best"]) == (1.5, None)
    assert rows[1]["study"] == "=1+1"
    assert rows[0]["model.batch_norm"] is False


def test_what_cannot_be_read_is_told(command: Callable[..., Said], runs: Path) -> None:
    (runs / "broken").mkdir()
    (runs / "broken/record.json").write_text("{")
    code, out, err = command("table", str(runs), "--runs")
    assert code == 1
    assert len(of_csv(out)) == 4
    assert "broken/record.json must be a record" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--runs --scores ece", "--runs shows each run with all that is known, and --scores has no say in it; leave"),
        ("--runs --baseline optimizer=sgd", "--runs shows each run with all that is known, and --baseline has no say"),
        ("--runs --format markdown", "--format must be one of csv, json, got 'markdown'"),
        ("--runs -o runs.md", "-o runs.md must end in one of .csv, .json with --runs; such as -o runs.csv"),
        ("-o runs.xlsx", "-o runs.xlsx must end in one of .md, .tex, .csv; or give --format"),
        ("-o runs.json", "-o runs.json must end in one of .md, .tex, .csv; or give --runs, for a row a run"),
        ("--format json", "--format must be one of markdown, latex, csv, got 'json'"),
        (
            "--runs --where optimizer=muon",
            "--where optimizer=muon must leave runs, and leaves none; there is adam, sgd",
        ),
    ],
)
def test_a_wrong_word_is_refused(refusal: Callable[..., str], runs: Path, words: str, sentence: str) -> None:
    assert refusal(*words.split()).startswith(sentence)
