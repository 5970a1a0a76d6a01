"""Test scores against their definitions, computed with NumPy and scikit-learn."""

import resource
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    top_k_accuracy_score,
)
from torch import Tensor

from imgrec.errors import RunError
from imgrec.scores import Scores

Batch = tuple[Tensor, Tensor, Tensor]
K = 7


def batches(sizes: list[int], *, classes: int = K, seed: int = 0) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            3 * torch.randn(n, classes, generator=generator),
            torch.randint(0, classes, (n,), generator=generator),
            torch.rand((), generator=generator),
        )
        for n in sizes
    ]


def counted(rows: list[Batch], classes: int = K) -> dict[str, Any]:
    scores = Scores(classes)
    for row in rows:
        scores.update(*row)
    return {name: value.numpy() for name, value in scores.compute().items()}


def joined(rows: list[Batch]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities and true classes of all batches."""
    logits = torch.cat([row[0] for row in rows]).double().numpy()
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True), torch.cat([row[1] for row in rows]).numpy()


def calibration_error(confidence: NDArray[Any], right: NDArray[Any]) -> float:
    """Guo et al. 2017, equation 3: bins ((m - 1) / M, m / M], M = 15."""
    total = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            total += inside.sum() / len(confidence) * abs(right[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("sizes", [[64], [16, 16, 16, 3], [5] * 150 + [1]])
def test_every_score_is_its_definition(sizes: list[int]) -> None:
    rows = batches(sizes)
    found = counted(rows)
    probabilities, truth = joined(rows)
    said = probabilities.argmax(axis=1)
    labels = list(range(K))
    assert found["top1"] == pytest.approx(accuracy_score(truth, said), abs=1e-6)
    assert found["top5"] == pytest.approx(top_k_accuracy_score(truth, probabilities, k=5, labels=labels), abs=1e-6)
    assert found["iou"] == pytest.approx(jaccard_score(truth, said, average="macro"), abs=1e-6)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, said), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"), abs=1e-6)
    assert found["confusion"].tolist() == confusion_matrix(truth, said, labels=labels).tolist()
    assert found["ece"] == pytest.approx(calibration_error(probabilities.max(axis=1), said == truth), abs=1e-6)
    losses = np.array([float(row[2]) for row in rows])
    assert found["loss"] == pytest.approx((losses * sizes).sum() / sum(sizes), abs=1e-6)


def test_a_smaller_last_batch_weighs_as_its_images_do() -> None:
    logits, truth = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    found = counted([(logits, truth, torch.tensor(1.0)), (logits[:1], truth[:1], torch.tensor(6.0))], classes=2)
    assert found["loss"] == pytest.approx((4 * 1.0 + 1 * 6.0) / 5)


def test_the_intersection_over_union_of_a_worked_example() -> None:
    """True 0 0 1 1, predicted 0 1 1 1: class 0 has 1 / 2, class 1 has 2 / 3. A class without images does not count."""
    logits = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 1]), 3).float()
    found = counted([(logits, torch.tensor([0, 0, 1, 1]), torch.tensor(0.0))], classes=3)
    assert found["iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["top1"] == pytest.approx(3 / 4)
    assert found["confusion"].tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_what_the_first_images_do_not_tell_apart_is_told_apart_later() -> None:
    """At first all images are right, so that top1 and top5 agree; then half of the classes come second."""
    scores = Scores(K)
    truth = torch.arange(K)
    right = 9 * torch.nn.functional.one_hot(truth, K).float()
    scores.update(right, truth, torch.tensor(0.0))
    assert (scores.scalars()["top1"], scores.scalars()["top5"]) == (1, 1)
    scores.reset()
    second = right + 18 * torch.nn.functional.one_hot((truth + 1) % K, K).float()
    scores.update(torch.cat([right, second]), truth.repeat(2), torch.tensor(0.0))
    assert (scores.scalars()["top1"], scores.scalars()["top5"]) == (0.5, 1)


def test_counting_takes_memory_for_the_images_and_the_classes_not_for_their_product_squared() -> None:
    """256 images of 1 000 classes need a million counts. A table of images by pairs of classes would have 2 GB."""
    (row,) = batches([256], classes=1000)
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = counted([row], classes=1000)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    finally:
        torch.use_deterministic_algorithms(was)
    assert found["confusion"].sum() == 256
    assert grown < 200 * 1024  # KiB


def test_full_confidence_shares_the_last_bin() -> None:
    """Half of the images have confidence 1, half 0.976: one bin (14/15, 1], and one gap between their means."""
    logits = torch.zeros(100, K)
    logits[:50, 0], logits[50:, 0] = 200.0, 5.5
    truth = torch.tensor([1] * 30 + [0] * 70)
    confidence = logits.double().softmax(dim=1).amax(dim=1).numpy()
    assert confidence[0] == 1
    assert 14 / 15 < confidence[-1] < 1
    found = counted([(logits, truth, torch.tensor(0.0))])
    assert found["ece"] == pytest.approx(confidence.mean() - 0.7, abs=1e-6)
    assert found["ece"] == pytest.approx(calibration_error(confidence, truth.numpy() == 0), abs=1e-6)


def test_a_soft_target_counts_as_its_most_probable_class() -> None:
    (logits, truth, loss) = batches([20])[0]
    soft = 0.6 * torch.nn.functional.one_hot(truth, K) + 0.4 / K
    assert {name: value.tolist() for name, value in counted([(logits, soft, loss)]).items()} == {
        name: value.tolist() for name, value in counted([(logits, truth, loss)]).items()
    }


@pytest.mark.parametrize(("classes", "has"), [(2, False), (5, False), (6, True)])
def test_top5_says_something_from_six_classes_on(classes: int, has: bool) -> None:
    assert ("top5" in counted(batches([9], classes=classes), classes)) is has


def test_scalars_are_the_values_without_the_tables() -> None:
    scores = Scores(K)
    scores.update(*batches([9])[0])
    assert set(scores.scalars()) == {"top1", "top5", "loss", "iou", "balanced_accuracy", "macro_f1", "ece"}
    assert all(isinstance(value, float) for value in scores.scalars().values())


@pytest.mark.parametrize("stops", [[0], [10], [63], [64], [70, 71], [130, 149], [150]])
def test_an_interruption_anywhere_changes_no_bit(stops: list[int]) -> None:
    rows = batches([5] * 150 + [2])
    expected = counted(rows)
    scores = Scores(K)
    for number, row in enumerate(rows):
        scores.update(*row)
        if number in stops:
            stored = scores.state()
            scores = Scores(K)
            scores.load(stored)
    found = {name: value.numpy() for name, value in scores.compute().items()}
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_checkpoint_on_the_way_changes_no_bit_and_stays_as_it_was() -> None:
    rows = batches([5] * 150)
    scores = Scores(K)
    for row in rows[:100]:
        scores.update(*row)
    stored = scores.state()
    for row in rows[100:]:
        scores.update(*row)
    found, expected = scores.compute(), counted(rows)
    assert all(np.array_equal(found[name].numpy(), expected[name]) for name in expected)
    early, expected = Scores(K), counted(rows[:100])
    early.load(stored)
    assert all(np.array_equal(value.numpy(), expected[name]) for name, value in early.compute().items())


def test_a_state_is_tensors_and_plain_containers(tmp_path: Any) -> None:
    scores = Scores(K)
    for row in batches([5] * 70):
        scores.update(*row)
    torch.save(scores.state(), tmp_path / "state")
    again = Scores(K)
    again.load(torch.load(tmp_path / "state", weights_only=True))
    assert again.scalars() == scores.scalars()


def test_what_was_counted_before_is_gone_after_loading() -> None:
    rows = batches([9, 9])
    stored = Scores(K)
    stored.update(*rows[0])
    other = Scores(K)
    other.update(*rows[1])
    other.compute()
    other.load(stored.state())
    assert other.scalars() == stored.scalars()


def test_counts_of_another_version_are_refused() -> None:
    stored = Scores(K).state()
    stored["counts"]["counts.top1.tp"] = stored["counts"].pop("counts.among_top")
    with pytest.raises(RunError, match=r"must hold the counts that this version keeps, got counts.*top1\.tp"):
        Scores(K).load(stored)


def test_a_reset_forgets_what_was_counted_and_what_waits() -> None:
    rows = batches([9] * 70)
    scores = Scores(K)
    for row in rows:
        scores.update(*row)
    scores.reset()
    scores.update(*rows[3])
    assert scores.scalars() == {name: float(value) for name, value in counted([rows[3]]).items() if value.ndim == 0}


def test_counts_are_no_weights() -> None:
    scores = Scores(K)
    scores.update(*batches([9])[0])
    scores.state()
    assert scores.state_dict() == {}
    assert list(scores.parameters()) == []


def test_half_precision_is_counted_in_single() -> None:
    logits, truth, loss = batches([50])[0]
    half = logits.half()
    assert counted([(half, truth, loss.half())])["ece"] == pytest.approx(
        float(counted([(half.float(), truth, loss.half().float())])["ece"]), abs=0
    )


def test_a_diverged_network_is_reported_and_not_an_error() -> None:
    found = counted([(torch.full((4, K), torch.nan), torch.arange(4), torch.tensor(torch.nan))])
    assert np.isnan(found["loss"])
    assert np.isnan(found["ece"])
    assert 0 <= found["top1"] <= 1
