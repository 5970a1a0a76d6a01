"""Test layers that keep their weights and statistics, throughout or until an epoch begins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, ended_at, state
from torch import Tensor

from imgrec import launch
from imgrec.errors import UsageError

HEAD = ("net.classes.weight", "net.classes.bias")
CNN = ("model.batch_norm=true", "model.dropout=0.3")


@pytest.fixture(scope="session")
def source(undisturbed: Callable[..., Path]) -> Path:
    """A finished run of a network with batch normalisation and dropout."""
    return undisturbed(*CNN, "trainer.max_epochs=1", "optimizer.lr=0.01")


@pytest.fixture
def words(tiny: list[str], source: Path) -> list[str]:
    return [*tiny, *CNN, f"init_from={source}", "optimizer.lr=0.01"]


def weights(path: Path) -> dict[str, Tensor]:
    found = torch.load(path, weights_only=True)["state_dict"]
    return {key.removeprefix("network."): value for key, value in found.items() if key.startswith("network.")}


def changed(run: Path, source: Path, name: str = "last") -> set[str]:
    """The tensors of a run's checkpoint that are not those of its source."""
    before, after = weights(source / "checkpoints/best.ckpt"), weights(run / f"checkpoints/{name}.ckpt")
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


def test_a_frozen_backbone_keeps_its_weights_and_its_statistics(words: list[str], source: Path) -> None:
    run = launch.train([*words, "model.freeze=backbone", "trainer.max_epochs=2"])
    assert changed(run.folder, source) == set(HEAD)


def test_the_first_layers_alone_can_be_frozen(words: list[str], source: Path) -> None:
    """Layer 0 is the first convolution with its normalisation; there are two stages, a hidden layer, and the head."""
    run = launch.train([*words, "model.freeze=1", "trainer.max_epochs=1"])
    kept = weights(run.folder / "checkpoints/last.ckpt").keys() - changed(run.folder, source)
    assert {name for name in kept if name.startswith("net.")} == {
        name for name in weights(source / "checkpoints/last.ckpt") if name.startswith("net.stages.0.")
    }


@pytest.mark.parametrize(
    "optimizer",
    [
        ["optimizer=sgd", "optimizer.weight_decay=0.1"],
        ["optimizer=momentum", "optimizer.weight_decay=0.1", "optimizer.decay_norm_and_bias=false"],
        ["optimizer=adagrad", "optimizer.weight_decay=0.1"],
        ["optimizer=adamw", "optimizer.weight_decay=0.5"],
        ["optimizer=rmsprop", "optimizer.momentum=0.9", "optimizer.weight_decay=0.1"],
        ["optimizer=muon", "optimizer.weight_decay=0.5"],
        ["optimizer=muon_sgd", "optimizer.bias_lr=1", "optimizer.head_lr=1"],
    ],
    ids=lambda words: words[0].partition("=")[2],
)
@pytest.mark.long
def test_no_optimizer_moves_what_is_frozen_and_all_of_it_trains_afterwards(
    words: list[str], source: Path, optimizer: list[str]
) -> None:
    """`previous` is the state after the first epoch, and `last` after the second."""
    run = launch.train([*words, *optimizer, "model.freeze=backbone", "model.unfreeze_at=1", "trainer.max_epochs=2"])
    assert changed(run.folder, source, "previous") == set(HEAD)
    assert changed(run.folder, source) == set(weights(source / "checkpoints/last.ckpt")) - {"mean", "std"}


@pytest.mark.parametrize(
    ("step", "more"),  # of 8 steps an epoch: before, at and after the epoch of the change
    [
        (10, ["optimizer=momentum"]),
        (16, ["optimizer=momentum"]),
        (17, ["optimizer=momentum"]),
        (16, ["optimizer=adamw", "trainer.ema_statistics=recomputed"]),
    ],
)
@pytest.mark.long
def test_a_run_that_is_interrupted_around_the_change_ends_as_the_undisturbed_one(
    words: list[str], imgrec: Callable[..., Any], workplace: Path, step: int, more: list[str]
) -> None:
    words = [*words, "model.freeze=backbone", "model.unfreeze_at=2", "trainer.max_epochs=3", "trainer.ema_decay=0.8"]
    words += [*more, "schedule=cosine", "augment=crop_flip"]
    whole = launch.train([*words, "hydra.run.dir=whole"])
    child = imgrec("train", *words, "hydra.run.dir=cut", before=lambda: ended_at(step))
    assert child.wait() == 143, child.log.read_text()
    assert state(workplace / "cut")["global_step"] == step
    launch.train([*words, "hydra.run.dir=cut"])
    assert_same_run(whole.folder, workplace / "cut")


@pytest.mark.parametrize(
    "average",
    [
        ["trainer.ema_decay=0.5", "trainer.ema_statistics=recomputed", "trainer.max_epochs=1"],
        ["trainer.swa_from=0.3", "trainer.max_epochs=3"],
    ],
    ids=["ema", "swa"],
)
@pytest.mark.long
def test_frozen_statistics_are_not_counted_anew_for_averaged_weights(
    words: list[str], source: Path, average: list[str]
) -> None:
    run = launch.train([*words, *average, "model.freeze=1"])
    own, before = weights(run.folder / "checkpoints/last.ckpt"), weights(source / "checkpoints/best.ckpt")
    torch.testing.assert_close(own["net.stages.0.1.running_mean"], before["net.stages.0.1.running_mean"])
    assert not torch.allclose(own["net.stages.1.1.running_mean"], before["net.stages.1.1.running_mean"])


@pytest.mark.slow
def test_two_processes_freeze_and_unfreeze_as_one(
    words: list[str], source: Path, imgrec: Callable[..., Any], workplace: Path
) -> None:
    words = [word for word in words if word not in CNN]
    words = [word for word in words if not word.startswith("init_from")] + ["optimizer=sgd", "optimizer.lr=0.1"]
    words += ["model.freeze=backbone", "model.unfreeze_at=1", "trainer.max_epochs=2"]
    one = imgrec("train", *words, "data.batch_size=12", "hydra.run.dir=one")
    assert one.wait() == 0, one.log.read_text()
    two = imgrec("train", *words, "trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=6", "hydra.run.dir=two")
    assert two.wait() == 0, two.log.read_text()
    first, second = (weights(workplace / name / "checkpoints/last.ckpt") for name in ("one", "two"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-6)
    before = weights(workplace / "one/checkpoints/previous.ckpt")
    assert not torch.equal(before["net.stages.0.0.weight"], first["net.stages.0.0.weight"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["model.freeze=all"], "must be none, backbone or a number of layers, got 'all'; give model.freeze=backbone"),
        (["model.freeze=0"], "must be none, backbone or a number of layers, got '0'"),
        (
            ["model.unfreeze_at=1"],
            r"model\.unfreeze_at=1 has no effect with model\.freeze=none; give model\.freeze=back",
        ),
        (
            ["model.freeze=backbone", "model.unfreeze_at=2", "trainer.max_epochs=2"],
            r"must be less than trainer\.max_epochs=2, or nothing is ever unfrozen, got 2; give 0",
        ),
        (
            ["model.freeze=4"],
            r"must be at most 3, as model=cnn has 4 layers with its head, got 4; give model\.freeze=back",
        ),
    ],
)
def test_what_cannot_be_frozen_is_refused(words: list[str], more: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        launch.train([*words, *more])


@pytest.mark.long
def test_layers_that_would_stay_random_are_refused_and_each_way_out_trains(tiny: list[str], source: Path) -> None:
    frozen = [*tiny, *CNN, "model.freeze=backbone", "trainer.max_epochs=2"]
    with pytest.raises(UsageError, match=r"and these would begin and stay random; give init_from=RUN, or"):
        launch.train(frozen)
    for way_out in (f"init_from={source}", "model.unfreeze_at=1"):
        assert launch.train([*frozen, way_out]).record.status == "finished"


def test_the_older_name_of_a_frozen_backbone_cannot_stand_beside_the_newer_one() -> None:
    with pytest.raises(UsageError, match=r"both say what is frozen; leave model\.freeze_backbone out"):
        launch.train(["data=digits", "model=resnet18", "model.freeze_backbone=true", "model.freeze=backbone"])


@pytest.mark.parametrize("key", ["model.freeze=1", "model.unfreeze_at=2"])
@pytest.mark.long
def test_a_resumed_run_keeps_what_is_frozen(words: list[str], key: str) -> None:
    base = launch.train([*words, "model.freeze=backbone", "model.unfreeze_at=1", "trainer.max_epochs=2"])
    with pytest.raises(
        UsageError, match=rf"cannot change {key.partition('=')[0]} .* \(the stored state of the optimizer"
    ):
        launch.train([f"resume={base.folder}", key, "trainer.max_epochs=3", "resume_override=[trainer.max_epochs]"])
