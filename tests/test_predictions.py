"""Test the stored predictions of runs: at their end, after `imgrec evaluate`, and packed."""

import contextlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgrec import evaluate, predictions
from imgrec.errors import RunError
from imgrec.predictions import Predicted
from imgrec.tables.gather import gather
from imgrec.tables.stored_predictions import StoredPredictions


def _some(seed: int = 0, count: int = 50, calibrated: bool = False) -> Predicted:
    draws = np.random.default_rng(seed)
    probabilities = draws.dirichlet(np.ones(4), count)
    targets = draws.integers(0, 4, count)
    return predictions.predicted(
        indices_n=np.arange(count),
        targets_n=targets,
        predicted_n=probabilities.argmax(1),
        confidence_n=probabilities.max(1),
        true_n=probabilities[np.arange(count), targets],
        calibrated_n=probabilities.max(1) ** 0.5 if calibrated else None,
    )


@pytest.mark.parametrize("calibrated", [False, True])
def test_what_is_written_is_read_again(tmp_path: Path, calibrated: bool) -> None:
    some, others = _some(0, calibrated=calibrated), _some(1, count=0)
    path = tmp_path / predictions.NAME
    predictions.write(path, {"a": {("test", "clean", "last"): some}, "b": {("val", "tta_flip", "best"): others}})
    found = predictions.read(path)
    assert found["a"]["test", "clean", "last"].digest() == some.digest()
    assert found["b"]["val", "tta_flip", "best"].digest() == others.digest()
    assert {run: list(places) for run, places in found.items()} == {
        "a": [("test", "clean", "last")],
        "b": [("val", "tta_flip", "best")],
    }


def test_one_run_of_a_packed_file_is_read_alone(tmp_path: Path) -> None:
    path, place = tmp_path / predictions.NAME, ("test", "clean", "last")
    predictions.write(path, {"a": {place: _some(0)}, "b": {place: _some(1)}})
    assert {run: list(found) for run, found in predictions.read(path, only="b").items()} == {"b": [place]}
    assert predictions.read(path, only="b")["b"][place].digest() == _some(1).digest()
    assert predictions.read(path, only="c") == {}


def test_runs_on_the_same_images_share_them_in_a_file(tmp_path: Path) -> None:
    one = _some(0, count=10_000)
    place = ("test", "clean", "last")
    predictions.write(tmp_path / "one.npz", {"a": {place: one}})
    predictions.write(tmp_path / "two.npz", {"a": {place: one}, "b": {place: one}})
    assert len([name for name in np.load(tmp_path / "two.npz").files if name.startswith("images/")]) == 2
    assert (tmp_path / "one.npz").stat().st_size < 70_000


def test_a_run_keeps_what_its_scores_are_made_of(one_run: Path) -> None:
    record = json.loads((one_run / "record.json").read_text())
    found = predictions.read(one_run / predictions.NAME)[record["run_id"]]
    assert {predictions.key_of(place) for place in found} == set(record["predictions"])
    assert {"test/clean/last", "val/clean/best"} <= set(record["predictions"])
    for score in record["scores"]:
        kept = found[score["split"], score["protocol"], score["at"]]
        assert kept.digest() == record["predictions"]["/".join((score["split"], score["protocol"], score["at"]))]
        if score["metric"] == "top1":
            assert score["value"] == pytest.approx(kept.correct_n.mean(), abs=1e-6)
            assert score["n"] == len(kept.targets_n)
        if score["metric"] == "loss":  # cross-entropy
            assert score["value"] == pytest.approx(-np.log(kept.true_n.astype(float)).mean(), rel=2e-3)


def test_a_table_finds_the_predictions_of_folders_evaluations_and_packed_records(finished: Path) -> None:
    measured = evaluate.evaluate(finished, protocol="tta_flip")
    assert measured.path is not None
    assert measured.path.with_suffix(".npz").is_file()
    [run] = gather([finished.parent]).runs
    kept = StoredPredictions()
    clean, flipped = (kept.of(run, ("test", protocol, "best")) for protocol in ("clean", "tta_flip"))
    assert clean is not None
    assert flipped is not None
    [top1] = [score for score in measured.scores if score.metric == "top1"]
    assert flipped.correct_n.mean() == pytest.approx(top1.value, abs=1e-6)
    assert kept.of(run, ("test", "tta_flip", "last")) is None
    study = finished.parent / "study"
    (study / "records").mkdir(parents=True)
    shutil.copy(finished / "record.json", study / "records/one.json")
    shutil.copy(finished / predictions.NAME, study / predictions.NAME)
    [lone] = gather([study]).runs
    found = StoredPredictions().of(lone, ("test", "clean", "best"))
    assert found is not None
    assert found.digest() == clean.digest()


def _kept(finished: Path) -> Predicted | None:
    [run] = gather([finished.parent]).runs
    return StoredPredictions().of(run, ("test", "clean", "last"))


def test_predictions_of_another_run_are_refused(finished: Path) -> None:
    run_id = json.loads((finished / "record.json").read_text())["run_id"]
    predictions.write(finished / predictions.NAME, {run_id: {("test", "clean", "last"): _some()}})
    with pytest.raises(RunError, match=r"predictions\.npz must hold the predictions that .* names"):
        _kept(finished)
    (finished / predictions.NAME).unlink()
    assert _kept(finished) is None


def test_an_older_record_without_predictions_has_none(finished: Path) -> None:
    record = json.loads((finished / "record.json").read_text())
    del record["predictions"]
    (finished / "record.json").write_text(json.dumps(record))
    assert _kept(finished) is None


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _text(path: Path) -> None:
    path.write_text("no archive")


def _other_types(path: Path) -> None:
    arrays = dict(np.load(path))
    np.savez(path, **{name: array.astype(float) for name, array in arrays.items()})


def _shorter(path: Path) -> None:
    arrays = dict(np.load(path))
    np.savez(path, **{name: array[1:] if name.endswith("/confidence") else array for name, array in arrays.items()})


def _pickled(path: Path) -> None:
    arrays = dict(np.load(path))
    np.savez(path, **{name: array.astype(object) for name, array in arrays.items()})


def _member(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, content)

    return spoil


def _npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


HUGE = _npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (10" + b"0" * 30 + b",), }\n")
HOSTILE = [
    _member("a/test/clean/best/predicted.npy", b"no header"),
    _member("a/test/clean/best/predicted.npy", HUGE),
    _member("a/test/clean/best/predicted.npy", _npy(b"(((\n")),
    _member("a/test/clean/best/predicted.npy", _npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n")),
    _member("a/test/clean/best/predicted.npy", _npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': True, }\n")),
    _member("unknown", b""),
]


@pytest.mark.parametrize("spoil", [_cut, _text, _other_types, _shorter, _pickled, *HOSTILE])
def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    path = tmp_path / predictions.NAME
    predictions.write(path, {"a": {("test", "clean", "last"): _some()}})
    spoil(path)
    with pytest.raises(RunError, match=r"predictions\.npz must be predictions that imgrec wrote, got .*; restore it"):
        predictions.read(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / predictions.NAME
    predictions.write(path, {"a": {("test", "clean", "last"): _some()}})
    monkeypatch.setattr(predictions, "MOST_UNPACKED", 1000)
    with pytest.raises(RunError, match="bytes when unpacked, and at most 1000 are"):
        predictions.read(path)


@pytest.mark.long
def test_random_bytes_in_the_file_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / predictions.NAME
    predictions.write(path, {"a": {("test", "clean", "last"): _some()}})
    whole, draws = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        for place in draws.integers(0, len(content), draws.integers(1, 8)):
            content[place] = draws.integers(0, 256)
        path.write_bytes(bytes(content))
        with contextlib.suppress(RunError):
            predictions.read(path)
