"""Test the temperature that is fitted on validation images, and the scores with it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from imgrec import calibration, launch, predictions
from imgrec.errors import UsageError


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_drawn_targets_is_found(temperature: float) -> None:
    torch.manual_seed(0)
    honest_nk = 2 * torch.randn(20_000, 5)
    targets_n = torch.distributions.Categorical(logits=honest_nk).sample()
    assert calibration.fit_temperature(temperature * honest_nk, targets_n) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_has_a_higher_likelihood() -> None:
    torch.manual_seed(1)
    logits_nk = torch.randn(200, 4)
    targets_n = torch.distributions.Categorical(logits=logits_nk / 2).sample()
    found = calibration.fit_temperature(logits_nk, targets_n)
    assert found is not None
    least = calibration.negative_log_likelihood(logits_nk / found, targets_n)
    for other in np.geomspace(0.011, 99, 200):
        assert least <= calibration.negative_log_likelihood(logits_nk / other, targets_n) + 1e-9


def test_where_no_temperature_is_best_there_is_none() -> None:
    assert calibration.fit_temperature(torch.eye(3), torch.arange(3)) is None, "never wrong: the colder the likelier"
    assert calibration.fit_temperature(torch.eye(3), torch.arange(3).roll(1)) is None, "always wrong: the hotter"


@pytest.mark.long
def test_a_run_without_a_best_temperature_says_so(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(calibration, "fit_temperature", lambda *_: None)
    record = launch.train([*tiny, "trainer.max_epochs=1", "test_calibration=true"]).record
    assert not any("calibrated" in score.metric for score in record.scores)
    assert "no temperature is fitted at best, clean: none is best for these 12 validation images" in caplog.text


def test_a_run_measures_before_and_after(undisturbed: Callable[..., Path]) -> None:
    folder = undisturbed("trainer.max_epochs=1", "test_calibration=true")
    record = json.loads((folder / "record.json").read_text())
    scores = {(row["split"], row["at"], row["metric"]): row for row in record["scores"]}
    for at in ("best", "last"):
        assert scores["val", at, "nll"]["value"] >= scores["val", at, "nll_calibrated"]["value"]
        assert scores["test", at, "nll"]["value"] == pytest.approx(scores["test", at, "loss"]["value"], abs=1e-6)
        fitted = {scores[split, at, "ece_calibrated"]["settings"]["temperature"] for split in ("val", "test")}
        assert len(fitted) == 1, "one temperature, fitted on validation, serves both"
    kept = predictions.read(folder / predictions.NAME)[record["run_id"]]["test", "clean", "last"]
    assert kept.calibrated_n is not None
    assert not np.array_equal(kept.calibrated_n, kept.confidence_n)


def test_a_loss_without_probabilities_has_none(undisturbed: Callable[..., Path]) -> None:
    record = json.loads(
        (undisturbed("trainer.max_epochs=1", "loss=mse", "test_calibration=true") / "record.json").read_text()
    )
    assert not {row["metric"] for row in record["scores"]} & {"nll", "nll_calibrated", "ece_calibrated"}


def test_without_validation_it_is_refused(tiny: list[str]) -> None:
    with pytest.raises(UsageError, match=r"test_calibration needs validation images; give data\.val_size"):
        launch.train([*tiny, "test_calibration=true", "data.val_size=0"])
