"""Test calibration errors in tables: the number of images, its effect on the error, and debiased errors."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from answered import TEST_LAST, lay_answers, predicted
from fake_runs import Shown, lay_sweep, of_markdown

from imgrec import predictions, statistics
from imgrec.predictions import Predicted

Said = tuple[int, str, str]
Table = Callable[..., Shown]


def sure(images: int, power: float, seed: int) -> Predicted:
    random = np.random.default_rng(seed)
    confidence = random.beta(6, 1.2, images)
    return predicted((random.random(images) < confidence**power).tolist(), confidence=confidence.tolist())


@pytest.fixture
def kept(runs: Path) -> Path:
    """Two settings whose records have an ece, and predictions."""
    rows = {
        "optimizer=adam": [sure(360, 2.0, seed) for seed in range(3)],
        "optimizer=sgd": [sure(360, 1.0, 10 + seed) for seed in range(3)],
    }
    lay_answers(runs, rows)
    for path in (runs / "records").glob("*.json"):
        record = json.loads(path.read_text())
        kept = predictions.read(runs / predictions.NAME)[record["run_id"]][TEST_LAST]
        value = statistics.calibration(kept.confidence_n, kept.correct_n).error
        record["scores"] += [{**score, "metric": "ece", "value": value, "n": 360} for score in record["scores"]]
        path.write_text(json.dumps(record))
    return runs


def test_a_debiased_error_and_that_of_perfect_calibration_can_be_asked_for(table: Table, kept: Path) -> None:
    shown = table("--scores", "ece,ece_debiased,ece_perfect")
    of_all = predictions.read(kept / predictions.NAME)
    adam = [json.loads(path.read_text())["run_id"] for path in sorted((kept / "records").glob("*adam*"))]
    told = [of_all[name][TEST_LAST] for name in adam]
    found = [statistics.calibration(each.confidence_n, each.correct_n) for each in told]
    for metric, values in (
        ("ece", [each.error for each in found]),
        ("ece_debiased", [each.debiased for each in found]),
        ("ece_perfect", [each.perfect for each in found]),
    ):
        expected = f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}"
        assert shown.row("adam")[f"test {metric} %"].strip("*") == expected


def test_what_perfect_calibration_would_show_is_not_ranked(table: Table, kept: Path) -> None:
    alone = table("--scores", "ece_perfect")
    assert alone.verdict == "test ece_perfect %: what perfect calibration would show; no setting is better by it."
    assert not any("**" in text for row in alone.rows for text in row.values())
    assert not any("best is marked" in note or note.startswith("Bold") for note in alone.notes)
    both, scored = table("--scores", "ece_perfect,ece"), table("--scores", "ece")
    assert both.verdict == scored.verdict
    assert scored.verdict.startswith("test ece %: ")


def test_the_note_says_of_how_many_images_an_error_is_and_what_they_make_of_it(table: Table, kept: Path) -> None:
    perfect = [
        100 * statistics.calibration(places[TEST_LAST].confidence_n, places[TEST_LAST].correct_n).perfect
        for places in predictions.read(kept / predictions.NAME).values()
    ]
    assert table("--scores", "ece").note("test ece %: of ") == (
        "test ece %: of 360 images, on which networks with these confidences, were they right, would show"
        f" {min(perfect):.2f} to {max(perfect):.2f}."
    )
    assert (
        table("--scores", "ece_debiased")
        .note("test ece_debiased %: of ")
        .endswith("; less its bias as Kumar et al. 2019 estimate it.")
    )


def test_without_predictions_the_error_is_that_of_the_record_and_no_other(
    table: Table, refusal: Callable[..., str], command: Callable[..., Said], runs: Path
) -> None:
    lay_sweep(runs, {"optimizer=adam": [{"ece": 0.1}, {"ece": 0.12}]})
    assert "test ece %: of 1000 images." in table("--scores", "ece").notes
    said = refusal("--scores", "ece_debiased")
    assert said == (
        "--scores ece_debiased needs predictions that runs have kept, and none is there; give --scores ece, or restore"
        " predictions.npz"
    )
    assert command("table", str(runs), "--scores", "ece")[0] == 0


def test_a_run_s_kept_confidences_give_its_recorded_error(command: Callable[..., Said], one_run: Path) -> None:
    out = command("table", str(one_run), "--scores", "ece,ece_debiased", "--digits", "4")[1]
    (row,) = of_markdown(out).rows
    record = json.loads((one_run / "record.json").read_text())
    recorded = [s["value"] for s in record["scores"] if (s["metric"], s["split"], s["at"]) == ("ece", "test", "best")]
    told = predictions.read(one_run / predictions.NAME)[record["run_id"]]["test", "clean", "best"]
    found = statistics.calibration(told.confidence_n, told.correct_n)
    assert found.error == pytest.approx(recorded[0], abs=5e-3)
    assert float(row["test ece_debiased %"]) == pytest.approx(100 * found.debiased, abs=1e-3)
