"""Test the objects built from a configuration or a checkpoint. A checkpoint that does not fit is refused."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from imgrec import assembly, checkpoint
from imgrec.classifier import META
from imgrec.config import serialize
from imgrec.config.compose import compose
from imgrec.config.root import Config
from imgrec.data.source import Source
from imgrec.errors import RunError
from imgrec.losses import cross_entropy, label_smoothing
from imgrec.rebuilding import rebuild

WORDS = ["data=folder", "model.widths=[4,8]", "model.hidden=6", "loss=label_smoothing", "loss.smoothing=0.25"]
State = dict[str, Any]


@pytest.fixture
def config(image_folder: Path) -> Config:
    return compose([*WORDS, f"data.root={image_folder}", "data.image_size=16"])


@pytest.fixture
def source(config: Config) -> Source:
    return assembly.source(config)


@pytest.fixture
def state(config: Config, source: Source) -> State:
    """What Lightning stores of a classifier, as far as evaluation reads it."""
    torch.manual_seed(0)
    classifier = assembly.classifier(config, source, run_id="a" * 64, fingerprint="f", resumed=False)
    return {"state_dict": classifier.state_dict(), "global_step": 7, META: classifier.meta.to_plain()}


@pytest.fixture
def saved(tmp_path: Path, state: State) -> Callable[[], Path]:
    """Saves the state, as a test may have changed it."""

    def save() -> Path:
        checkpoint.save(state, tmp_path / "last.ckpt")
        return tmp_path / "last.ckpt"

    return save


def refusal(path: Path) -> str:
    with pytest.raises(RunError) as caught:
        rebuild(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


def test_a_classifier_takes_its_sizes_and_constants_from_the_images(config: Config, source: Source) -> None:
    classifier = assembly.classifier(config, source, run_id="a" * 64, fingerprint="f", resumed=False)
    assert classifier(torch.rand(2, 3, 16, 16)).shape == (2, 3)
    network = classifier.network
    assert network.mean.flatten().tolist() == pytest.approx(source.mean)
    assert network.std.flatten().tolist() == pytest.approx(source.std)
    assert isinstance(classifier.loss, partial)
    assert (classifier.loss.func, classifier.loss.keywords) == (label_smoothing, {"smoothing": 0.25})


def test_what_a_checkpoint_carries_is_plain(config: Config, source: Source) -> None:
    meta = assembly.classifier(config, source, run_id="a" * 64, fingerprint="f", resumed=False).meta.to_plain()
    assert (meta["run_id"], meta["classes"], meta["image_size"], meta["channels"]) == (
        "a" * 64,
        ["bars", "disc", "frame"],
        16,
        3,
    )
    assert serialize.from_flat(meta["config"]) == config


def test_optimizer_and_schedule_are_the_configured_ones(config: Config, source: Source) -> None:
    changed = serialize.from_flat({**serialize.flat(config), "optimizer.lr": 0.5, "optimizer.lr_scale": 0.5})
    classifier = assembly.classifier(changed, source, run_id="a", fingerprint="f", resumed=False)
    optimizer = classifier._make_optimizer(classifier.network)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25)
    assert classifier._make_schedule(optimizer, 10).get_last_lr()[0] == pytest.approx(0.25)


def test_the_loaders_are_those_of_the_configuration(config: Config, source: Source) -> None:
    changed = serialize.from_flat({**serialize.flat(config), "data.batch_size": 5})
    images, targets = next(iter(assembly.datamodule(changed, source).train_dataloader()))
    assert images.shape == (5, 3, 16, 16)
    assert targets.shape == (5,)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["trainer.channels_last=false"],
        ["model.batch_norm=true", "model.depth=2", "model.activation=gelu"],
        ["model=resnet18"],
        ["model=whitened_cnn", "model.widths=[4,8]"],
    ],
)
@pytest.mark.parametrize("arrangement", [torch.contiguous_format, torch.channels_last])
def test_a_rebuilt_network_gives_the_bits_of_the_saved_one(
    words: list[str], arrangement: torch.memory_format, tmp_path: Path, image_folder: Path
) -> None:
    """The memory format matters: CPUs without AVX-512 use other kernels for another format."""
    other = any(word.startswith("model=") for word in words)
    model = [] if other else ["model.widths=[4,8]", "model.hidden=6"]
    config = compose(["data=folder", f"data.root={image_folder}", "data.image_size=16", *model, *words])
    source = assembly.source(config)
    torch.manual_seed(0)
    classifier = assembly.classifier(config, source, run_id="a" * 64, fingerprint="f", resumed=False)
    state = {"state_dict": classifier.state_dict(), "global_step": 7, META: classifier.meta.to_plain()}
    checkpoint.save(state, tmp_path / "last.ckpt")
    rebuilt = rebuild(tmp_path / "last.ckpt").network
    images = torch.rand(4, 3, 16, 16).contiguous(memory_format=arrangement)
    with torch.no_grad():
        assert torch.equal(rebuilt(images), classifier.network.eval()(images))


def test_a_checkpoint_becomes_the_network_that_was_saved(
    saved: Callable[[], Path], state: State, config: Config, source: Source
) -> None:
    trained = rebuild(saved())
    assert trained.config == config
    assert trained.classes == ("bars", "disc", "frame")
    assert (trained.run_id, trained.step) == ("a" * 64, 7)
    assert not trained.network.training
    assert isinstance(trained.loss, partial)
    assert trained.loss.func is label_smoothing
    original = assembly.classifier(config, source, run_id="a" * 64, fingerprint="f", resumed=False)
    original.load_state_dict(state["state_dict"])
    images = torch.rand(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(trained.network(images), original.network.eval()(images))


def test_a_pretrained_network_out_of_a_checkpoint_needs_no_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are in the file: torch.hub's folder is empty here, and nothing is downloaded."""
    words = ["data=digits", "model=resnet18", "model.stem=imagenet", "model.pretrained=true"]
    pretrained = compose(words)
    source = Source(
        name="x",
        classes=("a", "b"),
        image_size=32,
        channels=3,
        train=None,  # type: ignore[arg-type]
        val=None,
        open_test=lambda: None,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    classifier = assembly.classifier(pretrained, source, run_id="b", fingerprint="f", resumed=True)
    path = tmp_path / "last.ckpt"
    checkpoint.save({"state_dict": classifier.state_dict(), "global_step": 0, META: classifier.meta.to_plain()}, path)
    assert rebuild(path).config.model == pretrained.model
    assert not (tmp_path / "hub").exists()


def test_a_checkpoint_of_somebody_else_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "global_step": 0}, tmp_path / "other.ckpt")
    assert refusal(tmp_path / "other.ckpt").endswith(
        "must be a checkpoint that imgrec wrote: it carries no configuration; name a run's own"
    )


@pytest.mark.parametrize(
    ("key", "value"), [("model.widths", [4, 16]), ("model.hidden", 7), ("model.depth", 2), ("model.batch_norm", True)]
)
def test_weights_of_another_architecture_are_refused(
    saved: Callable[[], Path], state: State, key: str, value: Any
) -> None:
    state[META]["config"][key] = value
    text = refusal(saved())
    assert "must hold the weights of model=cnn, which its configuration names, and holds those of another" in text
    assert text.endswith("; use the run's own checkpoint")


def test_other_classes_than_the_weights_have_are_refused(saved: Callable[[], Path], state: State) -> None:
    state[META]["classes"].append("fourth")
    assert "size mismatch for net.classes" in refusal(saved())


def test_a_changed_loss_is_taken_as_data(saved: Callable[[], Path], state: State) -> None:
    state[META]["config"] |= {"loss.name": "cross_entropy"}
    del state[META]["config"]["loss.smoothing"]
    assert rebuild(saved()).loss is cross_entropy


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("optimizer._target_", "os.system", "optimizer._target_ is not a key"),
        ("_target_", "os.system", "_target_ is not a key"),
        ("model.colour", 1, "model.colour is not a key"),
        ("plugin.name", "x", "plugin.name is not a key"),
        ("model.name", "vit", "model.name must be one of cnn, densenet_bc, "),
        ("model.widths", "wide", "model.widths: "),
        ("model.widths", [4, 0], "model.widths must be >= 1"),
        ("data", {"name": "folder"}, "data must be stored as dotted keys"),
        (3, 4, "cannot read"),
    ],
)
def test_a_tampered_configuration_is_refused(
    saved: Callable[[], Path], state: State, key: Any, value: Any, sentence: str
) -> None:
    state[META]["config"][key] = value
    text = refusal(saved())
    assert "carries a configuration that this version cannot read: " in text
    assert text.endswith("; use the version that wrote it")
    assert sentence in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config", None),
        ("config", ["a"]),
        ("classes", 3),
        ("image_size", "large"),
        ("image_size", 10),
        ("channels", None),
        ("mean", [0.5]),
        ("std", [0.0, 0.0, 0.0]),
        ("std", "abc"),
    ],
)
def test_tampered_facts_about_the_images_are_refused(
    saved: Callable[[], Path], state: State, key: str, value: Any
) -> None:
    state[META][key] = value
    assert "carries a configuration that this version cannot read: " in refusal(saved())


@pytest.mark.parametrize("key", ["config", "classes", "image_size", "channels", "mean", "std", "run_id"])
def test_a_missing_fact_is_named(saved: Callable[[], Path], state: State, key: str) -> None:
    del state[META][key]
    assert refusal(saved()).endswith(f"must carry '{key}', and does not; use a checkpoint that this version wrote")


@pytest.mark.parametrize("key", ["state_dict", "global_step"])
def test_a_missing_part_is_named(saved: Callable[[], Path], state: State, key: str) -> None:
    del state[key]
    assert f"must carry '{key}'" in refusal(saved())


@pytest.mark.parametrize(("key", "value"), [("state_dict", [1]), ("state_dict", {1: 2}), (META, 5), (META, [])])
def test_a_part_of_another_kind_is_refused(saved: Callable[[], Path], state: State, key: str, value: Any) -> None:
    state[key] = value
    assert "cannot read" in refusal(saved())


def test_weights_that_are_no_tensors_are_refused(saved: Callable[[], Path], state: State) -> None:
    state["state_dict"]["network.net.classes.bias"] = "soft"
    assert "state_dict's network.net.classes.bias must be a dense tensor, got 'soft'; use" in refusal(saved())


def test_a_network_is_compiled_for_the_batch_of_one_of_all_processes(
    config: Config, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are larger than the images, of which each of two processes has half, also on two machines."""
    seen = list[int]()

    def compiled(network: torch.nn.Module, **_: object) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(images_nchw: torch.Tensor) -> torch.Tensor:
            seen.append(len(images_nchw))
            logits_nk: torch.Tensor = network(images_nchw)
            return logits_nk

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    half = len(source.train) // 2
    for devices, nodes in ((2, 1), (1, 2)):
        trainer = replace(config.trainer, compile=True, strategy="ddp", devices=devices, num_nodes=nodes)
        classifier = assembly.classifier(
            replace(config, trainer=trainer), source, run_id="a", fingerprint="f", resumed=False
        ).train()
        classifier(torch.rand(2, 3, 16, 16))
        classifier(torch.rand(half, 3, 16, 16))
    assert seen == [half, half]
