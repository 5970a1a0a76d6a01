"""Test the DataFrames of `imgrec.load_runs` and `imgrec.load_curves` for created runs."""

import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from diagnosed import add_curves
from fake_runs import lay, lay_sweep, run, score

import imgrec
from imgrec import curve_file
from imgrec.errors import RunError, UsageError


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are laid out, none of which must outlive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def runs(workplace: Path) -> Path:
    """Two optimizers, two seeds; one run of sgd failed."""
    place = Path("outputs")
    lay_sweep(place, {"optimizer=sgd": [0.5], "optimizer=adam": [{"top1": 0.7, "loss": 1.5}, 0.8]})
    lay(place, run("optimizer=sgd seed=1", score("top1", 0.9), status="failed", error="RunError: nan"))
    return place


def quietly(load: Callable[..., Any], *places: str | Path) -> Any:
    """What it gives; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(*places)


def test_each_run_has_a_row_and_one_that_failed_no_scores(runs: Path) -> None:
    frame = quietly(imgrec.load_runs, str(runs)).set_index(["optimizer.name", "seed"])
    assert len(frame) == 4
    assert frame.loc[("adam", 1), "test_top1_last"] == 0.8
    assert frame.loc[("adam", 0), "test_loss_best"] == 1.5
    assert pd.isna(frame.loc[("adam", 1), "test_loss_best"])
    assert frame.loc[("sgd", 1), "status"] == "failed"
    assert frame.loc[("sgd", 1), "error"] == "RunError: nan"
    assert pd.isna(frame.loc[("sgd", 1), "test_top1_last"])
    assert Path(frame.loc[("adam", 0), "folder"], "record.json").is_file()


def test_means_over_what_was_varied_are_those_of_the_table(runs: Path, command: Callable[..., Any]) -> None:
    frame = quietly(imgrec.load_runs, runs)
    assert frame.attrs["varied"] == ["optimizer.name"]
    means = frame.groupby(frame.attrs["varied"], dropna=False)["test_top1_best"].mean()
    assert means.to_dict() == pytest.approx({"adam": 0.75, "sgd": 0.5})
    assert "| adam | 2 | 2/2 | 75.00 ± 7.07 |" in command("table", str(runs))[1]


def test_columns_have_types_and_missing_keys_are_missing(runs: Path) -> None:
    lay(runs, run("optimizer=adam model.widths=[8] seed=2", score("top1", 0.5), began="2026-11-28T01:49:59Z"))
    frame = quietly(imgrec.load_runs, runs)
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds["run_id"] == kinds["status"] == kinds["model.widths"] == kinds["study"] == "string"
    assert kinds["seed"] == kinds["trainer.max_epochs"] == kinds["cores"] == "Int64"
    assert kinds["optimizer.lr"] == kinds["test_top1_last"] == "float64"
    assert kinds["model.batch_norm"] == kinds["dirty"] == "boolean"
    assert kinds["began"].startswith("datetime64[")
    assert kinds["began"].endswith(", UTC]")
    assert frame["began"].max().isoformat() == "2026-11-28T01:49:59+00:00"
    assert set(frame["model.widths"]) == {"[8]", "[32,64,128]"}
    assert frame["gpu"].isna().all()
    assert set(frame.loc[frame["optimizer.beta1"].isna(), "optimizer.name"]) == {"sgd"}
    assert frame["study"].isna().all()


def test_a_column_of_mixed_kinds_is_text_and_a_large_seed_stays_exact(workplace: Path) -> None:
    place = Path("records")
    lay(place, run("seed=0", config={"seed": 2**64 - 1, "trainer.deterministic": True}))
    lay(place, run("seed=1", config={"trainer.deterministic": "auto"}))
    frame = quietly(imgrec.load_runs, place)
    assert list(frame["seed"]) == [str(2**64 - 1), "1"]
    assert list(frame["trainer.deterministic"]) == ["true", "auto"]
    assert frame["folder"].isna().all()
    assert list(frame["name"]) == sorted(path.stem for path in place.iterdir())


def test_other_protocols_have_columns_of_their_own(workplace: Path) -> None:
    lay(Path("outputs"), run("seed=0", score("top1", 0.5), score("top1", 0.6, protocol="tta_flip")))
    (row,) = quietly(imgrec.load_runs, "outputs").to_dict("records")
    assert (row["test_top1_last"], row["test_top1_last_tta_flip"]) == (0.5, 0.6)


def test_what_is_left_out_is_warned_about_where_it_was_asked_for(workplace: Path) -> None:
    once, again = score("top1", 0.5), score("top1", 0.6)
    again.settings = {"precision": "bf16"}
    lay(Path("outputs"), run("seed=0", once, again))
    Path("outputs/broken").mkdir()
    Path("outputs/broken/record.json").write_text("{")
    with pytest.warns(UserWarning, match="imgrec wrote|was measured") as said:
        frame = imgrec.load_runs("outputs")
    assert len(frame) == 1
    assert frame["test_top1_last"][0] == 0.5
    unread, double = (str(warning.message) for warning in said)
    assert unread.startswith("outputs/broken/record.json must be a record that imgrec wrote")
    assert double.startswith("test_top1_last of ")
    assert "not 0.6 with" in double
    assert {warning.filename for warning in said} == {__file__}


def test_a_time_that_is_none_is_missing_with_a_warning(workplace: Path) -> None:
    for seed, began in enumerate(["yesterday", "2026-11-29T10:00:00+00:00", "", None, "31.12.2026", "soon"]):
        lay(Path("outputs"), run(f"seed={seed}", score("top1", 0.5), began=began, ended="2026-11-29T11:00:00+00:00"))
    with pytest.warns(UserWarning, match="began") as said:
        frame = imgrec.load_runs("outputs").set_index("seed")
    assert frame["began"].notna().tolist() == [False, True, False, False, False, False]
    assert frame.loc[1, "began"] == pd.Timestamp("2026-11-29T10:00:00", tz="UTC")
    assert frame["ended"].notna().all()
    (told,) = [str(warning.message) for warning in said]
    assert re.fullmatch(
        r"began must be a time in ISO 8601, and is none in outputs/\S+/record.json \('yesterday'\), .* and 1 more; it"
        " is missing there",
        told,
    )


def test_images_of_the_same_root_are_told_apart(workplace: Path) -> None:
    for seed, fingerprint in enumerate(["a" * 64, "b" * 64]):
        changes = {"data.name": "folder", "data.root": "photos"}
        lay(Path("outputs"), run(f"seed={seed}", score("top1", 0.5), fingerprint=fingerprint, config=changes))
    frame = quietly(imgrec.load_runs, "outputs")
    assert frame.attrs["varied"] == ["images"]
    assert set(frame["images"]) == {"photos@aaaaaaaa", "photos@bbbbbbbb"}
    assert set(frame["data.root"]) == {"photos"}


def test_curves_have_a_row_a_number_with_what_was_varied(runs: Path) -> None:
    for path in sorted(runs.iterdir()):
        add_curves(path, {"val top1": [0.1, 0.2], "train lr": [0.5, 0.25]})
    frame = quietly(imgrec.load_curves, runs)
    assert list(frame) == ["run_id", "name", "seed", "optimizer.name", *curve_file.CURVE_COLUMNS]
    assert len(frame) == 4 * 4, "that of the failed run too"
    one = frame[(frame["optimizer.name"] == "adam") & (frame["seed"] == 1) & (frame["metric"] == "top1")]
    assert one[["step", "epoch", "split"]].to_numpy().tolist() == [[10, 1, "val"], [20, 2, "val"]]
    assert list(one["value"]) == [0.1 + 0.01, 0.2 + 0.01]
    assert [str(kind) for kind in frame.dtypes[4:]] == ["Int64", "Int64", "string", "string", "float64"]
    assert set(frame["run_id"]) == set(imgrec.load_runs(runs)["run_id"])


def test_curves_that_lack_are_warned_about(runs: Path) -> None:
    one, other, *_ = sorted(runs.iterdir())
    add_curves(one, {"val top1": [0.1]})
    (other / "curves.csv").write_text("no,table\n")
    with pytest.warns(UserWarning, match=r"curves\.csv") as said:
        frame = imgrec.load_curves(runs)
    assert list(frame["value"]) == [0.1]
    damaged, lacking = (str(warning.message) for warning in said)
    assert damaged.startswith(f"{other}/curves.csv must be a table of step")
    assert lacking.startswith("no curves.csv, so no rows: ")


@pytest.mark.parametrize("load", [imgrec.load_runs, imgrec.load_curves])
def test_what_cannot_be_loaded_is_refused(
    load: Callable[..., Any], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="must be given a folder of runs, got none; such as load_"):
        load()
    with pytest.raises(UsageError, match="gone must be a folder of runs or a record, and does not exist"):
        load("gone")
    with pytest.raises(UsageError, match=r"load_curves needs runs with curves\.csv"):
        imgrec.load_curves(runs)
    Path("broken.json").write_text("{")
    with pytest.raises(RunError, match=r"none of the 1 records could be read, the first: broken\.json"):
        load("broken.json")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        RunError, match=r"needs the package pandas, which is not installed; .*pip install -e '\.\[paper\]'"
    ):
        load(runs)


def test_the_example_of_the_page_runs_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[1]
    monkeypatch.chdir(root)
    (code,) = re.findall(r"```python\n(.+?)```", (root / "docs/paper.md").read_text(), re.DOTALL)
    exec(code, {})
    said = capsys.readouterr().out
    assert "['loss.name', 'optimizer.name']" in said
    assert re.search(r"cross_entropy adagrad +0\.9627", said), said
