"""Test losses against their definitions, against independent references, and at the limits of floating point."""

# N images, K classes

import math
import statistics

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgrec import losses
from imgrec.components.data.digits import Digits
from imgrec.components.loss.brier import Brier
from imgrec.components.loss.cross_entropy import CrossEntropy
from imgrec.components.loss.focal import Focal
from imgrec.components.loss.hinge import Hinge
from imgrec.components.loss.label_smoothing import LabelSmoothing
from imgrec.components.loss.mse import Mse
from imgrec.components.model.cnn import Cnn
from imgrec.config import loss as config
from imgrec.data.source import MemoryImages
from imgrec.data.sources import load
from imgrec.models.build import build as build_network

CONFIGS = [
    CrossEntropy(),
    LabelSmoothing(smoothing=0.2),
    Mse(),
    Mse(true_weight=5.0, true_value=15.0),
    Brier(),
    Focal(gamma=0.0),
    Focal(gamma=0.5),
    Focal(),
    Hinge(margin=0.7),
]
every_loss = pytest.mark.parametrize("cfg", CONFIGS, ids=repr)


@pytest.fixture
def logits_nk() -> Tensor:
    return 3 * torch.randn(16, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def classes_n() -> Tensor:
    return torch.randint(7, (16,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def soft_nk() -> Tensor:
    return torch.rand(16, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).softmax(dim=1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


@every_loss
def test_an_index_means_its_one_hot_row(cfg: config.Loss, logits_nk: Tensor, classes_n: Tensor) -> None:
    loss = cfg.build()
    one_hot = F.one_hot(classes_n, 7).double()
    torch.testing.assert_close(loss(logits_nk, classes_n), loss(logits_nk, one_hot))


@every_loss
def test_the_mean_is_over_the_images(cfg: config.Loss, logits_nk: Tensor, classes_n: Tensor, soft_nk: Tensor) -> None:
    loss = cfg.build()
    for target in (classes_n, soft_nk):
        each_n = loss(logits_nk, target, reduction="none")
        assert each_n.shape == (16,)
        torch.testing.assert_close(loss(logits_nk, target), each_n.mean())


@every_loss
def test_another_reduction_is_refused(cfg: config.Loss, logits_nk: Tensor, classes_n: Tensor) -> None:
    with pytest.raises(ValueError, match="reduction must be mean or none, got 'sum'"):
        cfg.build()(logits_nk, classes_n, reduction="sum")


@every_loss
def test_gradients_are_those_of_finite_differences(cfg: config.Loss, classes_n: Tensor, soft_nk: Tensor) -> None:
    loss = cfg.build()
    generator = torch.Generator().manual_seed(3)
    logits_nk = torch.randn(4, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    for target in (classes_n[:4], soft_nk[:4]):
        assert torch.autograd.gradcheck(lambda z, target=target: loss(z, target, reduction="none"), logits_nk)


@every_loss
@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_logits_stay_finite(cfg: config.Loss, size: float, dtype: torch.dtype) -> None:
    loss = cfg.build()
    right, wrong = torch.full((1, 4), -size), torch.full((1, 4), size)
    right[0, 2], wrong[0, 2] = size, -size
    for logits in (right, wrong):
        for target in (torch.tensor([2]), torch.tensor([[0.1, 0.2, 0.7, 0.0]])):
            leaf = logits.to(dtype).requires_grad_()
            value = loss(leaf, target)
            value.backward()
            assert value.dtype == torch.float32
            assert value.isfinite()
            assert leaf.grad is not None
            assert leaf.grad.isfinite().all()


def test_cross_entropy_of_ignorance_is_the_log_of_the_classes() -> None:
    assert losses.cross_entropy(torch.zeros(1, 4), torch.tensor([2])).item() == pytest.approx(math.log(4))


def test_cross_entropy_is_the_expected_surprise(logits_nk: Tensor, soft_nk: Tensor) -> None:
    expected = [-(p * np.log(softmax(z))).sum() for z, p in zip(logits_nk.numpy(), soft_nk.numpy(), strict=True)]
    each_n = losses.cross_entropy(logits_nk, soft_nk, reduction="none")
    np.testing.assert_allclose(each_n.numpy(), expected)


def test_label_smoothing_is_cross_entropy_against_smoothed_targets(logits_nk: Tensor, classes_n: Tensor) -> None:
    smoothed_nk = 0.8 * F.one_hot(classes_n, 7) + 0.2 / 7
    ours = losses.label_smoothing(logits_nk, classes_n, smoothing=0.2)
    torch.testing.assert_close(ours, losses.cross_entropy(logits_nk, smoothed_nk))
    torch.testing.assert_close(ours, F.cross_entropy(logits_nk, classes_n, label_smoothing=0.2))


def test_mse_weighs_and_scales_the_true_class_as_in_the_paper() -> None:
    # K = 3, true class 1, k = 5, M = 15: (0.5^2 + 5 (2 - 15)^2 + 1^2) / 3
    value = losses.mse(torch.tensor([[0.5, 2.0, -1.0]]), torch.tensor([1]), true_weight=5, true_value=15)
    assert value.item() == pytest.approx((0.25 + 5 * 169 + 1) / 3)


def test_plain_mse_is_the_mean_squared_error(logits_nk: Tensor, classes_n: Tensor, soft_nk: Tensor) -> None:
    torch.testing.assert_close(losses.mse(logits_nk, soft_nk), F.mse_loss(logits_nk, soft_nk))
    one_hot = F.one_hot(classes_n, 7).double()
    torch.testing.assert_close(losses.mse(logits_nk, classes_n), F.mse_loss(logits_nk, one_hot))


def test_scaled_mse_vanishes_where_the_logits_meet_the_scaled_target(soft_nk: Tensor) -> None:
    assert losses.mse(15 * soft_nk, soft_nk, true_weight=5, true_value=15).item() == pytest.approx(0)


def test_brier_is_the_squared_distance(logits_nk: Tensor, soft_nk: Tensor) -> None:
    expected = [((softmax(z) - p) ** 2).sum() for z, p in zip(logits_nk.numpy(), soft_nk.numpy(), strict=True)]
    np.testing.assert_allclose(losses.brier(logits_nk, soft_nk, reduction="none").numpy(), expected)


def test_brier_of_a_certain_mistake_is_two() -> None:
    assert losses.brier(torch.tensor([[1e3, 0.0]]), torch.tensor([1])).item() == pytest.approx(2)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_weighs_the_surprise(gamma: float, logits_nk: Tensor, classes_n: Tensor, soft_nk: Tensor) -> None:
    def reference(z: np.ndarray, p: np.ndarray) -> float:
        q = softmax(z)
        return -sum(p_c * (1 - q_c) ** gamma * math.log(q_c) for p_c, q_c in zip(p, q, strict=True))

    for target, rows in ((classes_n, np.eye(7)[classes_n.numpy()]), (soft_nk, soft_nk.numpy())):
        expected = [reference(z, p) for z, p in zip(logits_nk.numpy(), rows, strict=True)]
        each_n = losses.focal(logits_nk, target, gamma=gamma, reduction="none")
        np.testing.assert_allclose(each_n.numpy(), expected)


def test_focal_without_gamma_is_cross_entropy(logits_nk: Tensor, classes_n: Tensor) -> None:
    ours = losses.focal(logits_nk, classes_n, gamma=0)
    torch.testing.assert_close(ours, losses.cross_entropy(logits_nk, classes_n))


def test_hinge_is_the_margin_that_is_missing(logits_nk: Tensor, classes_n: Tensor, soft_nk: Tensor) -> None:
    def reference(z: np.ndarray, y: int) -> float:
        return max(0.0, 0.7 + max(np.delete(z, y)) - z[y])

    hard = [reference(z, y) for z, y in zip(logits_nk.numpy(), classes_n.tolist(), strict=True)]
    np.testing.assert_allclose(losses.hinge(logits_nk, classes_n, margin=0.7, reduction="none").numpy(), hard)
    soft = [
        sum(p_y * reference(z, y) for y, p_y in enumerate(p))
        for z, p in zip(logits_nk.numpy(), soft_nk.numpy(), strict=True)
    ]
    np.testing.assert_allclose(losses.hinge(logits_nk, soft_nk, margin=0.7, reduction="none").numpy(), soft)


def test_hinge_of_a_tie_is_the_margin() -> None:
    assert losses.hinge(torch.zeros(1, 3), torch.tensor([1])).item() == 1


def test_hinge_refuses_a_single_class() -> None:
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        losses.hinge(torch.zeros(1, 1), torch.tensor([0]))


def _gradient_norm(network: nn.Module, loss: nn.Module, images_nchw: Tensor, labels_n: Tensor) -> float:
    """The norm of the gradient over all weights."""
    gradients = torch.autograd.grad(loss(network(images_nchw), labels_n), list(network.parameters()))
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))


@pytest.mark.parametrize("seed", [0, 1])
def test_at_the_start_an_image_s_gradient_is_a_fifth_under_squared_losses(seed: int) -> None:
    """conf/study/losses.yaml states this for the article's cnn: over all weights, compared with cross-entropy."""
    train = load(Digits()).train
    assert isinstance(train, MemoryImages)
    images_nchw, labels_n = train.images_nchw[:32] / 255, train.labels[:32]
    torch.manual_seed(seed)
    network = build_network(Cnn(), num_classes=10, image_size=32, channels=3, mean=(0.3,) * 3, std=(0.4,) * 3)

    def sizes(cfg: config.Loss) -> tuple[float, float]:
        """The mean over single images, and of all of them as a batch."""
        loss = cfg.build()
        single = [_gradient_norm(network, loss, images_nchw[k : k + 1], labels_n[k : k + 1]) for k in range(32)]
        return statistics.mean(single), _gradient_norm(network, loss, images_nchw, labels_n)

    image, batch = sizes(CrossEntropy())
    mse_image, mse_batch = sizes(Mse())
    brier_image, brier_batch = sizes(Brier())
    assert image / mse_image == pytest.approx(4.7, abs=0.3)
    assert batch / mse_batch == pytest.approx(1.8, abs=0.7), "the offset of the logits is an error that images share"
    assert image / brier_image == pytest.approx(5, abs=0.2)
    assert batch / brier_batch == pytest.approx(5, abs=0.3)


def test_a_configuration_without_a_loss_is_refused() -> None:
    with pytest.raises(TypeError, match="abstract class Loss"):
        config.Loss(name="nothing").build()
