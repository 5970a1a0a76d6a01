"""Test diagnostics.json: files by this version and older ones are read, others are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from imgrec import diagnostics, measurement, text_files
from imgrec.errors import RunError
from imgrec.inference import Predictions


def diagnosed(classes: int, images: int) -> dict[str, Any]:
    draws = torch.Generator().manual_seed(0)
    targets = torch.arange(images) % classes
    logits = 3 * torch.nn.functional.one_hot(targets, classes) + torch.randn(images, classes, generator=draws)
    predictions = Predictions(logits_nk=logits.float(), targets_n=targets, indices_n=torch.arange(images))
    return measurement.diagnose(predictions, tuple(f"class {k}" for k in range(classes)))


def older(found: dict[str, Any]) -> dict[str, Any]:
    """As versions wrote it that knew whole matrices alone."""
    rows = {key: value for key, value in found.items() if key != "confusion_sparse"}
    return {**rows, "confusion": diagnostics.matrix(found)}


@pytest.mark.parametrize("classes", [3, diagnostics.FULL, diagnostics.FULL + 1])
def test_a_matrix_comes_back_whole_from_either_form(tmp_path: Path, classes: int) -> None:
    found = diagnosed(classes, 5 * classes)
    assert ("confusion" in found) is (classes <= diagnostics.FULL)
    matrix = torch.tensor(diagnostics.matrix(found))
    assert (int(matrix.sum()), matrix.sum(dim=1).tolist()) == (5 * classes, [5] * classes)
    read = []
    for form in (found, older(found)):
        text_files.write_json(tmp_path / "x.json", {"last": {"val": form}})
        read.append(diagnostics.read(tmp_path / "x.json", at="best", split="val"))
    assert read[0] == read[1]
    assert read[0] is not None
    assert [[row.get(k, 0) for k in range(classes)] for row in read[0].confusion] == matrix.tolist()
    assert diagnostics.read(tmp_path / "x.json", at="last", split="test") is None


@pytest.mark.long
def test_a_thousand_classes_take_no_megabytes(tmp_path: Path) -> None:
    found = diagnosed(1000, 5000)
    path = tmp_path / "x.json"
    text_files.write_json(path, {"best": {"val": found, "test": found}, "last": {"val": found, "test": found}})
    assert path.stat().st_size < 2**20
    path.write_text(json.dumps({"last": {"val": older(found)}}))
    assert path.stat().st_size > 2**21
    assert diagnostics.read(path, at="last", split="val") is not None


SMALL = diagnosed(3, 12)
BAD: dict[str, Any] = {
    "a list": [],
    "a place a list": {"last": []},
    "no classes": {**SMALL, "classes": []},
    "classes a text": {**SMALL, "classes": "abc"},
    "classes of numbers": {**SMALL, "classes": [1, 2, 3]},
    "a class too few": {**SMALL, "classes": ["a", "b"]},
    "a row too short": {**SMALL, "confusion": [[1, 2, 3], [1, 2], [1, 2, 3]]},
    "counts of texts": {**SMALL, "confusion": [["1", 2, 3]] * 3},
    "counts below zero": {**SMALL, "confusion": [[-1, 2, 3]] * 3},
    "counts too large": {**SMALL, "confusion": [[10**400, 2, 3]] * 3},
    "a pair that is none": {**SMALL, "confusion_sparse": ["0", "", ""]},
    "a class that is none": {**SMALL, "confusion_sparse": ["3:1", "", ""]},
    "per_class a mapping": {**SMALL, "per_class": {}},
    "an accuracy a text": {**SMALL, "per_class": [{"accuracy": "1"}] * 3},
    "an accuracy above 1": {**SMALL, "per_class": [{"accuracy": 2}] * 3},
    "a bin of nothing": {**SMALL, "calibration": [{}]},
    "a bin of texts": {**SMALL, "calibration": [{"low": "0", "high": 1, "n": 1, "confidence": 1, "accuracy": 1}]},
    "a bin of half an image": {**SMALL, "calibration": [{"low": 0, "high": 1, "n": 0.5}]},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_diagnostics_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "diagnostics.json"
    rows = BAD[name] if "classes" not in BAD[name] else {"last": {"val": BAD[name]}}
    path.write_text(json.dumps(rows))
    with pytest.raises(RunError, match=r"diagnostics\.json must be diagnostics that imgrec wrote, got .*; they"):
        diagnostics.read(path, at="last", split="val")
