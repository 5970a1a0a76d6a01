"""Test the callbacks that measure the loss around the weights against second derivatives that are computed in full."""

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from runs import ended_at, state
from torch import Tensor
from torch.func import functional_call, grad, hessian, vmap

import imgrec as public
from imgrec import launch
from imgrec.config.compose import compose
from imgrec.config.identity import run_id
from imgrec.curve_file import read_curves
from imgrec.data import sources
from imgrec.errors import UsageError
from imgrec.training.callbacks.noise_scale import NoiseScale

TWO = "trainer.max_epochs=2"  # 8 steps each
BOTH = (TWO, "callbacks=[sharpness,noise_scale]", "callback.noise_scale.small_batch=4")
SMALL = ("model.widths=[2]", "model.hidden=4")  # 109 weights
Weights = dict[str, Tensor]


def logged(folder: Path, metric: str) -> dict[int, float]:
    rows = read_curves(folder / "curves.csv")
    return {int(row["step"]): float(row["value"]) for row in rows if (row["split"], row["metric"]) == ("train", metric)}


def loss_of(
    folder: Path, words: list[str]
) -> tuple[Callable[[Weights, Tensor, Tensor], Tensor], Weights, Tensor, Tensor]:
    """Return the loss as a function of weights, images and targets, and these at the end of the run."""
    network = public.load(folder, at="last").network.double().eval()
    images = sources.load(compose(words).data).train
    pixels_nchw = images.read(torch.arange(len(images)))[0].double() / 255
    weights = {name: weight.detach() for name, weight in network.named_parameters()}

    def loss(weights: Weights, images_nchw: Tensor, targets_n: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(network, weights, (images_nchw,)), targets_n)

    return loss, weights, pixels_nchw, images.labels


def flat(tensors: Weights, rows: int = 1) -> Tensor:
    return torch.cat([tensor.reshape(rows, -1) for tensor in tensors.values()], dim=1)


@pytest.mark.long
def test_the_sharpness_is_the_largest_eigenvalue_of_the_hessian(tiny: list[str]) -> None:
    words = [*tiny, *SMALL]
    run = launch.train([*words, TWO, "callbacks=[sharpness]"])
    loss, weights, images_nchw, targets_n = loss_of(run.folder, words)
    second = hessian(loss)(weights, images_nchw, targets_n)
    names = list(weights)
    sizes = [weights[name].numel() for name in names]
    whole = torch.cat(
        [
            torch.cat([second[a][b].reshape(n, m) for b, m in zip(names, sizes, strict=True)], 1)
            for a, n in zip(names, sizes, strict=True)
        ]
    )
    largest = float(torch.linalg.eigvalsh(whole)[-1])
    found = logged(run.folder, "sharpness")
    assert sorted(found) == [8, 16]
    assert found[16] == pytest.approx(largest, rel=0.02)
    assert found[8] != found[16]


def test_the_noise_scale_is_that_of_the_gradients_of_single_images(tiny: list[str]) -> None:
    words = [*tiny, *SMALL]
    run = launch.train([*words, TWO, "callbacks=[noise_scale]", "callback.noise_scale.small_batch=1"])
    loss, weights, images_nchw, targets_n = loss_of(run.folder, words)
    single = vmap(grad(lambda weights, image, target: loss(weights, image[None], target[None])), (None, 0, 0))
    each_np = flat(single(weights, images_nchw, targets_n), len(targets_n))
    noise = float(each_np.var(dim=0).sum())
    signal_ = float(each_np.mean(dim=0).square().sum()) - noise / len(targets_n)
    expected = noise / signal_ if signal_ > 0 else math.inf
    assert logged(run.folder, "noise_scale")[16] == pytest.approx(expected, rel=0.01)


@pytest.mark.long
def test_every_so_many_epochs(tiny: list[str]) -> None:
    run = launch.train([*tiny, *BOTH, *SMALL, "callback.sharpness.every=2", "callback.sharpness.images=7"])
    assert sorted(logged(run.folder, "sharpness")) == [16]
    assert sorted(logged(run.folder, "noise_scale")) == [8, 16]


@pytest.mark.long
@pytest.mark.parametrize(
    "model",
    [
        pytest.param("model=vit_small model.patch=8", marks=pytest.mark.slow),
        "model=resnet20 model.drop_path=0.5",
    ],
)
def test_other_networks_have_both(tiny: list[str], model: str) -> None:
    words = [word for word in tiny if not word.startswith("model.")]
    run = launch.train([*words, *model.split(), *BOTH[1:], "trainer.max_epochs=1"])
    assert logged(run.folder, "sharpness")[8] > 0
    assert logged(run.folder, "noise_scale")[8] > 0


@pytest.mark.long
def test_measuring_changes_nothing_and_a_killed_run_doubles_no_row(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path]
) -> None:
    words = [*BOTH, "trainer.checkpoint_every=4"]
    child = imgrec("train", *tiny, *words, "hydra.run.dir=cut", before=lambda: ended_at(11, signal.SIGKILL))
    assert child.wait() == -9, child.log.read_text()
    assert imgrec("train", *tiny, *words, "hydra.run.dir=cut").wait() == 0
    straight, cut = undisturbed(TWO), Path("cut")
    lines = (cut / "curves.csv").read_text().splitlines(keepends=True)
    measured = [line for line in lines if ",sharpness," in line or ",noise_scale," in line]
    assert [line.split(",")[0] for line in measured] == ["8", "8", "16", "16"]
    expected = (straight / "curves.csv").read_text().splitlines(keepends=True)
    others = [line for line in lines if line not in measured and "images_per_second" not in line]
    assert others == [line for line in expected if "images_per_second" not in line]
    one, other = state(straight), state(cut)
    assert all(torch.equal(one["state_dict"][name], value) for name, value in other["state_dict"].items())
    assert run_id(compose([*tiny, *words]), "") == run_id(compose([*tiny, TWO]), "")


def test_a_small_batch_that_is_no_small_one_is_refused_before_training(tiny: list[str]) -> None:
    words = [*tiny, "callbacks=[noise_scale]", "callback.noise_scale.small_batch=31"]
    with pytest.raises(UsageError, match=r"at most half of the 60 images, got 31; use 30"):
        launch.train(words)
    assert not Path("outputs").exists()
    with pytest.raises(UsageError, match=r"callbacks=\[noise_scale\] needs 2 training images or more, and there is 1"):
        NoiseScale(name="noise_scale", small_batch=1).check_images(1)
    words[-1] = "callback.noise_scale.small_batch=30"
    launch.train([*words, "trainer.max_epochs=1"])


@pytest.mark.long
def test_images_that_lie_in_classes_give_the_noise_of_mixed_batches(tiny: list[str]) -> None:
    """The tiny images lie class by class. Batches of one class would differ by far more than batches of all."""
    found = [
        logged(launch.train([*tiny, *SMALL, TWO, "callbacks=[noise_scale]", f"callback.noise_scale.small_batch={small}",
                             f"hydra.run.dir=of{small}"]).folder, "noise_scale")[16]
        for small in (1, 4)
    ]  # fmt: skip
    assert 0.5 < found[1] / found[0] < 2
