"""Test training, resuming and measuring on a GPU."""

import json
import math
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REHEARSED
from runs import assert_same_run, steps_logged
from torch import Tensor
from waiting import wait_until

from imgrec import evaluate, launch, losses
from imgrec.components.data.digits import Digits
from imgrec.config.augment import Augment
from imgrec.config.registry import components
from imgrec.data import digits
from imgrec.data.loader import train_loader
from imgrec.inference import predict
from imgrec.models.build import build
from imgrec.scores import Scores

RICH = ("trainer.max_epochs=3", "model.dropout=0.3", "augment=crop_flip", "trainer.ema_decay=0.8", "schedule=cosine")
AUGMENTATIONS: list[dict[str, Any]] = [
    {},
    {"crop_padding": 2, "crop_border": "reflect", "flip": True, "flip_rule": "alternating", "cutout_size": 3},
    {"brightness": 0.2, "contrast": 0.5, "mix": "mixup"},
    {"crop_padding": 4, "flip": True, "mix": "cutmix"},
]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_batches_are_those_of_the_cpu_to_the_bit(augmentation: dict[str, Any], device: torch.device) -> None:
    images = digits.load(Digits()).train
    plain, resident = (
        train_loader(
            images,
            augment=Augment(name="some", **augmentation),
            num_classes=10,
            batch_size=300,
            seed=1,
            resident_on=where,
        )
        for where in (None, device)
    )
    for epoch in (0, 1):
        for loader in (plain, resident):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for expected, made in zip(plain, resident, strict=True):
            assert all(each.device == device for each in made)
            assert all(torch.equal(one, other.cpu()) for one, other in zip(expected, made, strict=True))


def test_the_same_seed_gives_the_same_bits(on_gpu: list[str]) -> None:
    one = launch.train([*on_gpu, *RICH, "hydra.run.dir=one"])
    other = launch.train([*on_gpu, *RICH, "hydra.run.dir=other"])
    assert one.record.weights == other.record.weights
    assert one.record.scores == other.record.scores


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adagrad", "muon"])
def test_an_interrupted_run_ends_with_the_bits_of_a_straight_one(
    on_gpu: list[str], spawned: Start, workplace: Path, optimizer: str
) -> None:
    words, cut = [*on_gpu, *RICH, f"optimizer={optimizer}", "optimizer.lr_scale=0.1"], workplace / "cut"
    assert spawned("train", *words, "hydra.run.dir=straight").wait() == 0
    child = spawned("train", *words, f"hydra.run.dir={cut}")
    wait_until(lambda: steps_logged(cut) >= 11 or child.poll() is not None, pause=0.002, log=cut / "train.log")
    child.send_signal(signal.SIGTERM)
    assert child.wait() == 143
    assert spawned("train", *words, f"hydra.run.dir={cut}").wait() == 0
    assert_same_run(workplace / "straight", cut)


@pytest.mark.parametrize(
    "words",
    [
        ("trainer.precision=bf16-mixed",),
        ("trainer.precision=16-mixed", "trainer.gradient_clip=1"),
        ("trainer.precision=16-mixed", "optimizer=muon", "optimizer.lr_scale=0.1"),
        ("trainer.ema_decay=0.9", "trainer.ema_statistics=recomputed", "model.batch_norm=true"),
        ("trainer.deterministic=auto", "trainer.channels_last=true"),
        ("data=digits", "augment=cutmix"),
    ],
    ids=" ".join,
)
def test_a_run_learns(on_gpu: list[str], words: tuple[str, ...]) -> None:
    if REHEARSED and "trainer.precision=16-mixed" in words:
        pytest.skip("needs a CUDA GPU, as float16 does")
    if "data=digits" in words:
        on_gpu = [word for word in on_gpu if not word.startswith("data.")]
    outcome = launch.train([*on_gpu, "trainer.max_epochs=3", "trainer.deterministic=auto", *words])
    (loss,) = [
        row.value for row in outcome.record.scores if (row.split, row.at, row.metric) == ("test", "last", "loss")
    ]
    assert loss < math.log(10 if "data=digits" in words else 3), "that of a guess"


def test_a_compiled_network_learns_what_the_plain_one_does(on_gpu: list[str]) -> None:
    words = [*on_gpu, "trainer.max_epochs=1", "trainer.deterministic=auto"]
    plain, compiled = launch.train(words), launch.train([*words, "trainer.compile=true"])
    found = [[row.value for row in outcome.record.scores if row.metric == "loss"] for outcome in (plain, compiled)]
    assert found[0] == pytest.approx(found[1], rel=0.02)


@pytest.mark.skipif(REHEARSED, reason="needs a CUDA GPU, as graphs do")
@pytest.mark.parametrize(
    "words",
    [
        ("model.dropout=0.3", "trainer.accumulate=2"),
        ("trainer.precision=bf16-mixed", "model.batch_norm=true", "trainer.ema_decay=0.8"),
        ("trainer.precision=16-mixed", "trainer.gradient_clip=1", "trainer.nonfinite_skips=8"),
    ],
    ids=" ".join,
)
def test_a_network_in_graphs_learns_what_the_plain_one_does(on_gpu: list[str], words: tuple[str, ...]) -> None:
    words = (*on_gpu, "trainer.max_epochs=2", *words)
    plain, graphed = launch.train([*words]), launch.train([*words, "trainer.graphs=true"])
    found = [[row.value for row in outcome.record.scores if row.metric == "loss"] for outcome in (plain, graphed)]
    assert found[0] == pytest.approx(found[1], rel=0.02)


@pytest.mark.parametrize("name", ["clean", "tta_flip"])
def test_logits_are_those_of_the_cpu_in_full_float32(device: torch.device, workplace: Path, name: str) -> None:
    config = launch.compose(["data=cifar10", "model=cnn", "model.widths=[16,32]", "model.batch_norm=true"])
    network = build(config.model, num_classes=10, image_size=32, channels=3, mean=[0.5] * 3, std=[0.3] * 3, fetch=False)
    images, protocol = digits.load(Digits()).val, components("protocol")[name]()
    assert images is not None
    found: list[Tensor] = []
    for where in (torch.device("cpu"), device):
        (only,) = predict(network, images, protocol, device=where, batch_size=64).values()
        found.append(only.logits_nk)
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)


def test_scores_are_those_of_the_cpu(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    logits_nk = torch.randn(500, 10, generator=generator)
    targets_n = torch.randint(0, 10, (500,), generator=generator)
    found = []
    for where in (torch.device("cpu"), device):
        scores = Scores(10).to(where)
        for part in (slice(0, 300), slice(300, 500)):
            logits, targets = logits_nk[part].to(where), targets_n[part].to(where)
            scores.update(logits, targets, losses.cross_entropy(logits, targets))
        found.append(scores.scalars())
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_run_is_measured_again_as_its_final_reading_measured(on_gpu: list[str], workplace: Path) -> None:
    outcome = launch.train([*on_gpu, "trainer.max_epochs=2"])
    again = evaluate.evaluate(outcome.folder, at="last")
    known = {(row.split, row.metric): row.value for row in outcome.record.scores if row.at == "last"}
    for row in again.scores:
        assert known[row.split, row.metric] == pytest.approx(row.value, abs=1e-6)


def test_several_runs_share_a_gpu_and_end_as_alone(on_gpu: list[str], spawned: Start, workplace: Path) -> None:
    words = ["train", "-m", *on_gpu, "trainer.max_epochs=1", "seed=0,1,2,3"]
    for name, launcher in (("alone", ["launcher=basic"]), ("shared", ["launcher=pool", "launcher.per_gpu=2"])):
        assert spawned(*words, *launcher, f"hydra.sweep.dir={name}").wait() == 0
    digests = {
        name: sorted(json.loads(path.read_text())["weights"]["last"] for path in Path(name).glob("*/record.json"))
        for name in ("alone", "shared")
    }
    assert len(digests["alone"]) == 4
    assert digests["alone"] == digests["shared"]


def test_two_gpus_train_one_run(on_gpu: list[str], spawned: Start, workplace: Path) -> None:
    if not REHEARSED and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    words = ["train", *on_gpu, *RICH, "trainer.devices=2", "trainer.strategy=ddp"]
    for name in ("one", "other"):
        assert spawned(*words, f"hydra.run.dir={name}").wait() == 0
    records = [json.loads(Path(name, "record.json").read_text()) for name in ("one", "other")]
    assert records[0]["weights"] == records[1]["weights"]
