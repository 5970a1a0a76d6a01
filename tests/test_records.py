"""Test records: JSON in and out, written completely or not at all, and Wilson's interval."""

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from imgrec import records, text_files
from imgrec.errors import RunError
from imgrec.proportions import wilson
from imgrec.records import Record, Score


def score(**changes: Any) -> Score:
    return Score(
        **{"split": "test", "protocol": "clean", "metric": "top1", "value": 0.5, "n": 10, "at": "last"} | changes
    )


def record(**changes: Any) -> Record:
    given: dict[str, Any] = {
        "run_id": "a" * 64,
        "status": "finished",
        "experiment": None,
        "study": None,
        "command": ["seed=1"],
        "config": {"seed": 1, "model.widths": [8, 16], "data.root": "/données"},
        "fingerprint": "f" * 64,
    }
    return Record(**given | changes)


def test_a_record_comes_back_equal(tmp_path: Path) -> None:
    full = record(
        scores=[score(ci=(0.2, 0.8)), score(metric="loss", value=1.25, settings={"precision": "32"})],
        cost={"seconds": 1.5, "images_per_second": 3},
        environment={"gpu": []},
        weights={"last": "c" * 64},
        progress={"best": None},
        parent="outputs/x",
        error="RunError: no",
    )
    path = tmp_path / "record.json"
    records.write(path, full)
    assert records.read(path) == full
    rows = json.loads(path.read_text("utf-8"))
    assert rows["schema"] == 1
    assert rows["config"]["data.root"] == "/données"
    assert rows["scores"][0]["ci"] == [0.2, 0.8]


def test_what_is_not_finite_is_null_in_the_file_and_not_a_number_when_read(tmp_path: Path) -> None:
    """A diverged run has a loss that is no number, and its record must still be valid JSON and readable."""
    path = tmp_path / "record.json"
    diverged = [score(metric="loss", value=value, at=at) for at, value in (("best", math.nan), ("last", math.inf))]
    records.write(path, record(scores=diverged, cost={"rates": (1.0, math.inf), "inner": {"x": -math.inf}}))
    rows = json.loads(path.read_text("utf-8"), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert [row["value"] for row in rows["scores"]] == [None, None]
    assert rows["cost"] == {"rates": [1.0, None], "inner": {"x": None}}
    assert all(math.isnan(read.value) for read in records.read(path).scores)


def test_a_score_is_found_by_name_split_place_and_protocol() -> None:
    rows = [
        score(value=0.1, split="val"),
        score(value=0.2, at="best"),
        score(value=0.3, protocol="tta_flip"),
        score(value=0.4, metric="loss"),
        score(value=0.5),
    ]
    found = record(scores=rows).score("top1", split="test", at="last")
    assert found is rows[4]
    assert record(scores=rows).score("top1", split="test", at="last", protocol="tta_flip") is rows[2]
    assert record(scores=rows).score("iou", split="test", at="last") is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '{"schema": 1}', '{"run_id": "a"}', '{"schema": 1, "scores": [{}]}', "\udcff"],
)
def test_a_file_that_is_no_record_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=r"record\.json must be a record that imgrec wrote, got .*; restore it or start"):
        records.read(path)


def test_a_missing_record_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"record\.json must be a record that imgrec wrote, got .*No such file"):
        records.read(tmp_path / "record.json")


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    records.write(path, record())
    rows = json.loads(path.read_text())
    path.write_text(json.dumps({**rows, "schema": 2}))
    with pytest.raises(RunError, match=r"schema must be 1, got 2; read it with the version that wrote it"):
        records.read(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "record.json"
    text_files.write_text(path, "old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(Path, "replace", full)
        with pytest.raises(RunError) as refusal:
            text_files.write_text(path, "new")
    assert str(refusal.value) == (
        f"{path} cannot be written: No space left on device; free the disk or set hydra.run.dir"
    )
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_a_folder_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"gone/x\.json cannot be written: No such file or directory"):
        text_files.write_json(tmp_path / "gone" / "x.json", {})


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    text_files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        text_files.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 10), (7, 10), (10, 10), (938, 1000), (9_999, 10_000)])
def test_wilson_s_interval_is_scipy_s(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_s_interval_of_newcombe_s_table() -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263, and 0 of 20."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_a_record_of_a_later_version_reads_without_what_it_added(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    records.write(path, record())
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": "cheerful"}))
    assert records.read(path) == record()


def test_a_path_that_is_no_utf_8_is_stored_and_read_back(tmp_path: Path) -> None:
    odd = os.fsdecode(b"data.root=caf\xe9")
    path = tmp_path / "record.json"
    records.write(path, record(command=[odd]))
    assert records.read(path).command == [odd]


@pytest.mark.parametrize("name", ["/etc/passwd", "imgrec./dev/zero", "imgrec..losses", "", "a" * 300], ids=repr)
def test_a_record_s_code_names_modules_and_no_files(tmp_path: Path, name: str) -> None:
    records.write(tmp_path / "record.json", record(code={name: "0 1"}))
    with pytest.raises(RunError, match=r"code of .*, which is no module"):
        records.read(tmp_path / "record.json")
