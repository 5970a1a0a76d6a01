"""Test runs with growing images and a first layer set from data: the trained network, and resuming."""

import functools
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, steps_logged
from torch import Tensor

from imgrec import assembly, launch
from imgrec.data.resize import resized

GROWING = (
    "model=whitened_cnn",
    "model.widths=[4,8]",
    "optimizer=muon_sgd",
    "optimizer.bias_lr=1",
    "optimizer.head_lr=1",
    "augment=crop_flip",
    "augment.flip_rule=alternating",
    "augment.crop_padding=1",
    "augment.crop_border=reflect",
    "augment.sizes=[5,6]",
    "augment.sizes_until=[0.25,0.5]",
    "trainer.max_epochs=4",
)


@pytest.fixture
def growing(tiny: list[str]) -> list[str]:
    """The tiny run with everything that a recipe for few epochs has."""
    return [*(word for word in tiny if not word.startswith(("model", "optimizer", "augment"))), *GROWING]


@pytest.mark.long
def test_images_grow_by_the_share_of_steps_and_are_judged_whole(
    growing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[int] = []

    def recorded(images_nchw: Tensor, side: int | None) -> Tensor:
        images_nchw = resized(images_nchw, side)
        sides.append(images_nchw.shape[-1])
        return images_nchw

    monkeypatch.setattr(assembly, "resized", recorded)
    outcome = launch.train([*growing])
    assert sides == [5] * 8 + [6] * 8 + [8] * 16
    assert outcome.record.config["augment.sizes"] == [5, 6]


@pytest.mark.long
def test_the_first_layer_is_set_from_the_images_and_stays(growing: list[str]) -> None:
    outcome = launch.train([*growing, "seed=0"])
    other = launch.train([*growing, "seed=1"])
    first, second = (
        torch.load(each.folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]["network.net.whiten.weight"]
        for each in (outcome, other)
    )
    assert torch.equal(first, second), "it depends on the images alone"
    assert torch.equal(first[:12], -first[12:])


@pytest.mark.parametrize(
    ("steps", "more"), [(5, ("trainer.precision=bf16-mixed", "trainer.ema_decay=0.8")), (11, ())], ids=["5", "11"]
)
@pytest.mark.long
def test_an_interrupted_run_goes_on_at_its_size(
    growing: list[str], imgrec: Callable[..., Any], workplace: Path, steps: int, more: tuple[str, ...]
) -> None:
    """It trains in bfloat16, with the weight gradients of small images."""
    growing = [*growing, *more]
    straight, cut = workplace / "straight", workplace / "cut"
    assert imgrec("train", *growing, f"hydra.run.dir={straight}").wait() == 0
    child = imgrec("train", *growing, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= steps, signal.SIGTERM) == 143, child.log.read_text()
    again = imgrec("train", *growing, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(straight, cut)


@pytest.mark.long
def test_a_compiled_network_trains_as_the_plain_one(growing: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is traced by Dynamo once for each size, with an average. The compiler itself is not tested.

    The last of the 60 images are a batch of 4, and those of the validation have other shapes as well.
    """
    words = [
        *growing,
        "augment.sizes=[6]",
        "augment.sizes_until=[0.5]",
        "trainer.max_epochs=2",
        "trainer.ema_decay=0.8",
    ]
    plain = launch.train(words)
    traced = []

    def backend(graph: torch.fx.GraphModule, examples: list[Tensor]) -> Callable[..., Any]:
        traced.append(next(tuple(each.shape) for each in examples if each.ndim == 4 and each.shape[1] == 3))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    compiled = launch.train([*words, "trainer.compile=true"])
    assert sorted(traced) == [(8, 3, 6, 6), (8, 3, 8, 8)]
    assert compiled.folder != plain.folder
    assert compiled.record.weights == plain.record.weights


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler for CPUs needs g++")
def test_a_run_that_compiles_ends_at_once_and_begins_again(
    growing: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    words = [*growing, "augment.sizes=[]", "augment.sizes_until=[]", "trainer.max_epochs=1", "trainer.compile=true"]
    run = workplace / "run"
    child = imgrec("train", *words, f"hydra.run.dir={run}")
    log = run / "train.log"
    assert child.signal_when(lambda: log.is_file() and "compiling" in log.read_text(), signal.SIGTERM) == 143
    assert steps_logged(run) == 0
    again = imgrec("train", *words, f"hydra.run.dir={run}")
    assert again.wait() == 0, again.log.read_text()
    assert steps_logged(run) == 8
