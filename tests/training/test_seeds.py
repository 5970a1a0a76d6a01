"""Test sources of variance, each varied alone: initial weights, order and augmentation, the validation split."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from imgrec import launch, predictions
from imgrec.components.data.digits import Digits
from imgrec.data import digits
from imgrec.errors import UsageError
from imgrec.sweeps.run import Sweep

FROZEN = ("trainer.max_epochs=1", "optimizer.lr_scale=1e-30")  # the weights stay those that were drawn


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith("network.")}


def alike(one: Path, other: Path) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.mark.long
def test_init_seed_decides_the_weights_and_seed_the_rest(undisturbed: Callable[..., Path]) -> None:
    usual, other = undisturbed(*FROZEN, "seed=1"), undisturbed(*FROZEN, "seed=2", "init_seed=1")
    assert alike(usual, other), "the same initial weights as seed=1 alone draws"
    assert not alike(usual, undisturbed(*FROZEN, "seed=2"))
    trained = [undisturbed("trainer.max_epochs=1", "init_seed=1", f"seed={seed}") for seed in (1, 2)]
    assert not alike(*trained), "another order of the images"
    ids = {json.loads((folder / "record.json").read_text())["run_id"] for folder in (usual, other, *trained)}
    assert len(ids) == 4


def test_split_seed_takes_other_images_for_validation_and_leaves_the_test_alone(
    undisturbed: Callable[..., Path], one_run: Path
) -> None:
    other = undisturbed("trainer.max_epochs=1", "data.split_seed=3")
    found = [next(iter(predictions.read(folder / predictions.NAME).values())) for folder in (one_run, other)]
    for place in (("val", "clean", "last"), ("test", "clean", "last")):
        assert len(found[0][place].targets_n) == len(found[1][place].targets_n)
    assert (other / "trained_images.bin").read_bytes() != (one_run / "trained_images.bin").read_bytes()


@pytest.mark.long
def test_a_sweep_in_one_process_gives_each_run_its_own_split(workplace: Path) -> None:
    words = ["data=digits", "model.widths=[4]", "model.hidden=8", "trainer=cpu", "trainer.threads=1"]
    words += ["trainer.max_epochs=1", "trainer.tensorboard=false", "data.batch_size=500", "launcher=basic"]
    sweep = Sweep([*words, "data.val_size=180,90", "data.split_seed=0,1"])
    sweep.run()
    for folder, record in sweep.outcomes:
        cfg = Digits(split_seed=record.config["data.split_seed"], val_size=record.config["data.val_size"])
        own = digits.load(cfg).val
        assert own is not None
        [found] = predictions.read(folder / predictions.NAME).values()
        assert found[("val", "clean", "last")].targets_n.tolist() == own.labels.tolist()
    assert len(sweep.outcomes) == 4


@pytest.mark.long
def test_a_sweep_over_folds_validates_each_image_once(workplace: Path) -> None:
    words = ["data=digits", "model.widths=[4]", "model.hidden=8", "trainer=cpu", "trainer.threads=1"]
    words += ["trainer.max_epochs=1", "trainer.tensorboard=false", "data.batch_size=500", "launcher=basic"]
    sweep = Sweep([*words, "data.folds=3", "data.fold=0,1,2"])
    sweep.run()
    seen = []
    for folder, record in sweep.outcomes:
        cfg = Digits(folds=3, fold=record.config["data.fold"])
        source = digits.load(cfg)
        assert source.val is not None
        [found] = predictions.read(folder / predictions.NAME).values()
        assert found[("val", "clean", "last")].targets_n.tolist() == source.val.labels.tolist()
        seen += [bytes(image) for image in source.val.read(torch.arange(len(source.val)))[0].numpy()]
    assert len(seen) == 1437
    everything = digits.load(Digits(val_size=0)).train
    assert sorted(seen) == sorted(bytes(image) for image in everything.read(torch.arange(1437))[0].numpy())


@pytest.mark.parametrize("split_seed", [1, 2])
def test_each_split_seed_is_another_stratified_split_of_the_digits(split_seed: int) -> None:
    usual, other = digits.load(Digits()), digits.load(Digits(split_seed=split_seed))
    again = digits.load(Digits(split_seed=split_seed))
    assert usual.val is not None
    assert other.val is not None
    assert again.val is not None
    everything = torch.arange(len(usual.val))
    assert torch.equal(other.val.read(everything)[0], again.val.read(everything)[0])
    assert not torch.equal(usual.val.read(everything)[0], other.val.read(everything)[0])
    for labels in (usual.val.labels, other.val.labels):
        assert np.ptp(np.bincount(labels)) <= 1
    tests = [source.open_test() for source in (usual, other)]
    assert tests[0] is not None
    assert tests[1] is not None
    assert torch.equal(tests[0].read(torch.arange(360))[0], tests[1].read(torch.arange(360))[0])


def test_a_split_seed_without_a_drawn_split_is_refused(tiny: list[str], tiny_images: Path, workplace: Path) -> None:
    with pytest.raises(
        UsageError, match=r"data\.split_seed=1 varies the validation split, and data\.val_size=0 leaves"
    ):
        launch.train([*tiny, "data.split_seed=1", "data.val_size=0"])
    root = workplace / "images"
    for split in ("train", "val"):
        (root / split).parent.mkdir(exist_ok=True)
        (root / split).symlink_to(tiny_images)
    with pytest.raises(UsageError, match=r"has one of its own, val/; leave data\.split_seed out"):
        launch.train([*tiny, "data.split_seed=1", f"data.root={root}"])


@pytest.mark.parametrize("change", ["data.split_seed=1", "init_seed=1"])
def test_no_run_goes_on_with_another(tiny: list[str], finished: Path, change: str) -> None:
    words = [f"resume={finished}", "trainer.max_epochs=2", change]
    key = change.partition("=")[0]
    with pytest.raises(UsageError, match=f"{key}.*cannot|cannot.*{key}"):
        launch.train([*words, f"resume_override=[trainer.max_epochs,{key}]"])
