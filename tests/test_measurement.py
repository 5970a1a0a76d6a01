"""Test protocols, measurements and diagnoses against values computed by hand."""

import json
import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score, precision_score, recall_score
from torch import Tensor, nn

from imgrec import losses, protocols
from imgrec.config.protocol import Protocol
from imgrec.config.registry import components
from imgrec.data.source import MemoryImages
from imgrec.errors import RunError
from imgrec.inference import Predictions, learned
from imgrec.inference import predict as predict_rows
from imgrec.measurement import diagnose, measure
from imgrec.proportions import wilson
from imgrec.protocols import Batch
from imgrec.scores import Scores

CPU = torch.device("cpu")


class Probe(nn.Module):
    """Logits that tell apart every pixel's place: a fixed random projection. Remembers how it was called."""

    def __init__(self, pixels: int, classes: int = 3) -> None:
        super().__init__()
        self.project = nn.Linear(pixels, classes)
        self.project.weight.data = torch.randn(classes, pixels, generator=torch.Generator().manual_seed(1))
        self.calls: list[tuple[int, bool, bool, bool]] = []

    def forward(self, images_nchw: Tensor) -> Tensor:
        contiguous = images_nchw.is_contiguous(memory_format=torch.channels_last)
        self.calls.append((len(images_nchw), self.training, torch.is_grad_enabled(), contiguous))
        logits: Tensor = self.project(images_nchw.flatten(1))
        return logits


def predicted_of(logits_nk: torch.Tensor, targets_n: torch.Tensor) -> Predictions:
    """Predictions for a split whose images could all be read."""
    return Predictions(logits_nk=logits_nk, targets_n=targets_n, indices_n=torch.arange(len(targets_n)))


def pixels(n: int, side: int = 5) -> Tensor:
    return torch.rand(n, 2, side, side, generator=torch.Generator().manual_seed(0))


def images(n: int, side: int = 5) -> MemoryImages:
    values = (pixels(n, side) * 255).to(torch.uint8)
    return MemoryImages(values, torch.arange(n) % 3)


def predict(network: nn.Module, data: MemoryImages, protocol: str = "clean", **words: Any) -> Predictions:
    """The predictions under a protocol that has one row."""
    (found,) = predict_rows(network, data, components("protocol")[protocol](), device=CPU, **words).values()
    return found


def batch(images_nchw: Tensor) -> Batch:
    count = torch.arange(len(images_nchw))
    return Batch(images_nchw=images_nchw, targets_n=count % 3, indices_n=count)


def test_clean_is_the_network_itself() -> None:
    probe = Probe(50)
    assert torch.equal(protocols.clean(probe, batch(pixels(4)))[""], probe(pixels(4)))


def test_tta_flip_is_the_mean_of_an_image_and_its_mirror_image() -> None:
    probe = Probe(50)
    mirrored = torch.from_numpy(np.ascontiguousarray(pixels(4).numpy()[:, :, :, ::-1]))
    expected = (probe(pixels(4)) + probe(mirrored)) / 2
    assert torch.allclose(protocols.tta_flip(probe, batch(pixels(4)))[""], expected, atol=1e-6)


def test_tta_flip_shift_is_six_views_half_of_them_in_place() -> None:
    """The shifts are written out with NumPy: one pixel down and right, or up and left, with mirrored borders."""
    probe = Probe(50)
    array = pixels(4).numpy()
    inner = np.pad(array, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    down_right, up_left = inner[:, :, :5, :5], inner[:, :, 2:7, 2:7]
    assert np.array_equal(down_right[:, :, 1:, 1:], array[:, :, :-1, :-1])
    assert np.array_equal(up_left[:, :, :-1, :-1], array[:, :, 1:, 1:])
    expected = torch.zeros(4, 3)
    for weight, view in ((1 / 4, array), (1 / 8, down_right), (1 / 8, up_left)):
        for side in (view, view[:, :, :, ::-1]):
            expected += weight * probe(torch.from_numpy(np.ascontiguousarray(side)))
    assert torch.allclose(protocols.tta_flip_shift(probe, batch(pixels(4)))[""], expected, atol=1e-5)
    constant = torch.full((2, 2, 5, 5), 0.5)
    assert torch.allclose(protocols.tta_flip_shift(probe, batch(constant))[""], probe(constant), atol=1e-5)


@pytest.mark.parametrize("channels_last", [True, False])
def test_predictions_come_in_order_from_every_image_in_eval_mode_without_gradients(channels_last: bool) -> None:
    probe = Probe(50).train()
    data = images(11)
    found = predict(probe, data, batch_size=4, channels_last=channels_last)
    assert found.targets_n.tolist() == [n % 3 for n in range(11)]
    assert sum(call[0] for call in probe.calls) == 11
    assert max(call[0] for call in probe.calls) <= 4
    assert {call[1:3] for call in probe.calls} == {(False, False)}
    assert all(call[3] is channels_last for call in probe.calls)
    expected = probe(data.images_nchw.float() / 255)
    assert torch.allclose(found.logits_nk, expected, atol=1e-5)


def test_a_network_that_was_moved_to_the_device_can_still_train() -> None:
    class Elsewhere(Probe):
        def to(self, *arguments: Any, **keywords: Any) -> "Elsewhere":
            return self.double().float()  # other tensors, as after a move to a GPU

    network = Elsewhere(2 * 5 * 5)
    predict(network, images(4), batch_size=2)
    network(pixels(4)).sum().backward()
    assert network.project.weight.grad is not None


def test_bfloat16_is_used_where_asked_for_and_stands_in_the_scores() -> None:
    data, probe = images(11), Probe(50)
    full, lower = (predict(probe, data, "tta_flip", batch_size=4, precision=precision) for precision in ("32", "bf16"))
    assert full.logits_nk.dtype == lower.logits_nk.dtype == torch.float32
    assert not torch.equal(full.logits_nk, lower.logits_nk)
    assert torch.allclose(full.logits_nk, lower.logits_nk, atol=0.1)
    for found, precision in ((full, "32"), (lower, "bf16")):
        rows = measure(found, losses.cross_entropy, split="test", protocol="tta_flip", at="last")
        assert {row.settings["precision"] for row in rows} == {precision}


def test_float32_is_full_also_where_a_program_has_chosen_tf32_by_the_newer_switches() -> None:
    """PyTorch refuses to read its older switches (allow_tf32) then."""
    matrices, seen = torch.backends.cuda.matmul, set[str]()
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]

    class Watching(Probe):
        def forward(self, images_nchw: Tensor) -> Tensor:
            seen.update((matrices.fp32_precision, convolutions.fp32_precision))
            return super().forward(images_nchw)

    before = [kind.fp32_precision for kind in (matrices, convolutions)]
    try:
        matrices.fp32_precision = "tf32"
        with pytest.raises(RuntimeError, match="allow_tf32"):
            _ = matrices.allow_tf32
        predict(Watching(2 * 5 * 5), images(4), batch_size=2)
        assert seen == {"ieee"}
        assert [kind.fp32_precision for kind in (matrices, convolutions)] == ["tf32", before[1]]
    finally:
        matrices.fp32_precision = before[0]


@pytest.mark.parametrize("name", list(components("protocol")))
def test_the_size_of_the_batches_changes_nothing(name: str) -> None:
    probe, data, protocol = Probe(50), images(11), components("protocol")[name]()
    found: list[dict[str, Predictions]] = []
    for size in (11, 3):
        common: dict[str, Any] = {"device": CPU, "batch_size": size, "head": ["project"]}
        learns = learned(probe, data, protocol, classes=3, **common) if protocol.learns else None
        found.append(predict_rows(probe, data, protocol, measured=learns, **common))
    whole, parts = found
    assert list(whole) == list(parts)
    for label, each in whole.items():
        assert torch.allclose(each.logits_nk, parts[label].logits_nk, atol=1e-5)


def test_gaussian_noise_is_clipped_and_of_its_deviation_and_of_its_seed() -> None:
    seen: list[Tensor] = []

    def network(images_nchw: Tensor) -> Tensor:
        seen.append(images_nchw)
        return images_nchw.flatten(1)[:, :3]

    middle = torch.full((40, 3, 16, 16), 0.5)
    rows = protocols.gaussian_noise(network, batch(middle), sigmas=[0.0, 0.1, 4.0], seed=0)
    assert list(rows) == ["0", "0.1", "4"]
    assert torch.equal(seen[0], middle)
    noise = seen[1] - middle
    assert abs(float(noise.mean())) < 0.002
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    assert (float(seen[2].min()), float(seen[2].max())) == (0, 1)
    protocols.gaussian_noise(network, batch(middle), sigmas=[0.1], seed=1)
    assert not torch.equal(seen[3], seen[1])


class Ascent(Protocol):
    """Images moved towards a greater loss, by steps of two sizes: what an attack needs of a protocol."""

    name = "ascent"
    takes_gradients = True

    def build(self) -> Any:
        def attacked(network: Any, batch: Batch) -> dict[str, Tensor]:
            images_nchw = batch.images_nchw.clone().requires_grad_()
            loss = torch.nn.functional.cross_entropy(network(images_nchw), batch.targets_n)
            (gradient_nchw,) = torch.autograd.grad(loss, images_nchw)
            return {f"{eps:g}": network(batch.images_nchw + eps * gradient_nchw.sign()) for eps in (0.0, 0.1)}

        return attacked


def test_a_protocol_may_take_gradients_of_the_images_and_leaves_the_network_as_it_was() -> None:
    probe, data = Probe(50), images(11)
    before = {name: value.clone() for name, value in probe.state_dict().items()}
    found = predict_rows(probe, data, Ascent(name="ascent"), device=CPU, batch_size=4)
    plain = predict(probe, data, batch_size=4)
    assert list(found) == ["ascent:0", "ascent:0.1"]
    assert torch.allclose(found["ascent:0"].logits_nk, plain.logits_nk, atol=1e-6)
    losses_of = [losses.cross_entropy(each.logits_nk, each.targets_n) for each in found.values()]
    assert losses_of[1] > losses_of[0]
    assert all(torch.equal(value, before[name]) for name, value in probe.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in probe.parameters())


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            {"a/b": torch.zeros(4, 3)},
            r"must name its rows by at most 64 letters, digits and _ \. \+ -, got 'a/b'; rename it",
        ),
        (
            {"": torch.zeros(3, 3)},
            r"must give logits \(4, K\) of floating point, one a class, for 4 images, got \(3, 3\)",
        ),
        (
            {"": 0.5},
            r"must give logits \(4, K\) of floating point, one a class, for 4 images, got float",
        ),
        ({0: torch.zeros(4, 3)}, "must give logits by the names of rows"),
        (None, "must give logits by the names of rows, such as .*, got NoneType; mend its build"),
        ({"": torch.zeros(4, 3, dtype=torch.int64)}, "of floating point"),
        ({}, "protocol=given must give one row at least, and gives none; mend its settings"),
    ],
)
def test_a_protocol_that_gives_no_logits_is_refused(rows: Any, sentence: str) -> None:
    class Given(Protocol):
        """What the test says."""

        def build(self) -> Any:
            return lambda network, batch: rows

    with pytest.raises(RunError, match=sentence):
        predict_rows(Probe(50), images(4), Given(name="given"), device=CPU, batch_size=4)


def predictions(n: int = 60, classes: int = 4) -> Predictions:
    generator = torch.Generator().manual_seed(3)
    return predicted_of(
        logits_nk=2 * torch.randn(n, classes, generator=generator),
        targets_n=torch.randint(0, classes, (n,), generator=generator),
    )


def test_what_was_predicted_and_how_surely() -> None:
    found = predicted_of(logits_nk=torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]), targets_n=torch.tensor([1, 1]))
    assert found.confidence_n.tolist() == pytest.approx([0.75, 0.5])
    assert found.predicted_n.tolist() == [1, 0]


def test_the_worst_are_the_surest_mistakes_first() -> None:
    logits = torch.tensor([[9.0, 0], [1.0, 0], [0, 5.0], [2.0, 0], [0, 5.0], [0, 3.0]])
    found = predicted_of(logits_nk=logits, targets_n=torch.tensor([0, 1, 0, 1, 0, 1]))
    assert found.worst(10).tolist() == [2, 4, 3, 1]  # equals stay in their order; right ones never come
    assert found.worst(2).tolist() == [2, 4]
    assert found.worst(0).tolist() == []
    perfect = predicted_of(logits_nk=logits[:1], targets_n=torch.tensor([0]))
    assert perfect.worst(3).tolist() == []


def test_a_measurement_is_a_row_for_every_metric_with_wilson_s_interval_where_it_is_a_proportion() -> None:
    found = predictions(n=60, classes=7)
    rows = measure(found, losses.mse, split="test", protocol="tta_flip", at="best")
    assert [row.metric for row in rows] == ["balanced_accuracy", "ece", "iou", "loss", "macro_f1", "top1", "top5"]
    assert {(row.split, row.protocol, row.at, row.n) for row in rows} == {("test", "tta_flip", "best", 60)}
    values = {row.metric: row.value for row in rows}
    right = (found.logits_nk.argmax(1) == found.targets_n).numpy()
    assert values["top1"] == pytest.approx(right.mean())
    one_hot = np.eye(7)[found.targets_n.numpy()]
    assert values["loss"] == pytest.approx(((found.logits_nk.numpy() - one_hot) ** 2).mean(), rel=1e-5)
    for row in rows:
        if row.metric in ("top1", "top5"):
            assert row.ci == pytest.approx(wilson(row.value, 60), abs=1e-6)
        else:
            assert row.ci is None


def test_outputs_that_are_no_numbers_are_no_score() -> None:
    found = predicted_of(logits_nk=torch.full((4, 3), math.nan), targets_n=torch.tensor([0, 1, 2, 0]))
    with pytest.raises(RunError, match=r"the loss on val at last \(clean\) must be finite, got nan: .*; train again"):
        measure(found, losses.cross_entropy, split="val", protocol="clean", at="last")
    assert len(diagnose(found, ("a", "b", "c"))["calibration"]) == 15


def test_a_diagnosis_is_sklearn_s() -> None:
    found = predictions(n=200)
    page = diagnose(found, ("a", "b", "c", "d"))
    truth, said = found.targets_n.numpy(), found.predicted_n.numpy()
    expected: list[tuple[Any, ...]] = list(
        zip(
            np.bincount(truth, minlength=4),
            recall_score(truth, said, average=None),
            precision_score(truth, said, average=None),
            jaccard_score(truth, said, average=None),
            strict=True,
        )
    )
    rows = page["per_class"]
    assert [row["class"] for row in rows] == page["classes"] == ["a", "b", "c", "d"]
    for row, (n, accuracy, precision, iou) in zip(rows, expected, strict=True):
        assert row["n"] == n
        assert (row["accuracy"], row["precision"], row["iou"]) == pytest.approx((accuracy, precision, iou), abs=1e-6)
    assert json.loads(json.dumps(page)) == page


def test_the_rows_of_the_confusion_matrix_are_the_true_classes() -> None:
    found = predicted_of(logits_nk=torch.eye(3)[[1, 1, 2]], targets_n=torch.tensor([0, 0, 2]))
    page = diagnose(found, ("a", "b", "c"))
    assert page["confusion"] == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_a_class_without_images_or_predictions_has_no_share() -> None:
    found = predicted_of(logits_nk=torch.eye(4)[[1, 1]], targets_n=torch.tensor([1, 0]))
    rows = diagnose(found, ("a", "b", "c", "d"))["per_class"]
    assert rows[0] == {"class": "a", "n": 1, "accuracy": 0.0, "precision": None, "iou": 0.0}
    assert rows[1] == {"class": "b", "n": 1, "accuracy": 1.0, "precision": 0.5, "iou": 0.5}
    assert rows[2] == {"class": "c", "n": 0, "accuracy": None, "precision": None, "iou": None}


def test_the_calibration_bins_hold_every_image_and_add_up_to_the_error() -> None:
    found = predictions(n=300)
    found.logits_nk[:40] *= 100  # confidence 1, exactly
    rows = diagnose(found, ("a", "b", "c", "d"))["calibration"]
    assert [row["low"] for row in rows] == pytest.approx([k / 15 for k in range(15)])
    assert [row["high"] for row in rows] == pytest.approx([(k + 1) / 15 for k in range(15)])
    confidence, right = found.confidence_n.numpy(), (found.predicted_n == found.targets_n).numpy()
    for row in rows:
        inside = (confidence > row["low"]) & (confidence <= row["high"])
        assert row["n"] == inside.sum()
        if inside.any():
            assert row["confidence"] == pytest.approx(confidence[inside].mean(), abs=1e-6)
            assert row["accuracy"] == pytest.approx(right[inside].mean(), abs=1e-6)
        else:
            assert row["confidence"] is row["accuracy"] is None
    assert sum(row["n"] for row in rows) == 300
    scores = Scores(4)
    scores.update(found.logits_nk, found.targets_n, torch.zeros(()))
    gaps = [row["n"] / 300 * abs(row["accuracy"] - row["confidence"]) for row in rows if row["n"]]
    assert scores.scalars()["ece"] == pytest.approx(sum(gaps), abs=1e-6)


def test_a_protocol_can_change_neither_the_true_classes_nor_the_number_of_classes() -> None:
    class Given(Protocol):
        """What the test says."""

        wide: ClassVar[int] = 1

        def build(self) -> Any:
            def changed(network: Any, batch: Batch) -> dict[str, Tensor]:
                batch.targets_n.zero_()
                batch.indices_n.zero_()
                return {"": network(batch.images_nchw).repeat(1, self.wide)}

            return changed

    found = predict_rows(Probe(50), images(4), Given(name="given"), device=CPU, batch_size=2)["given"]
    assert found.targets_n.tolist() == [0, 1, 2, 0]
    assert found.indices_n.tolist() == [0, 1, 2, 3]
    Given.wide = 2
    with pytest.raises(RunError, match=r"must give logits \(2, 3\) of floating point, .*got \(2, 6\)"):
        predict_rows(Probe(50), images(4), Given(name="given"), device=CPU, batch_size=2)
