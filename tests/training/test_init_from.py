"""Test runs that begin with the weights of another run, of a checkpoint, or of a safetensors file."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from runs import assert_same_run, ended_at, state, tree
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor

from imgrec import checkpoint, initial, launch, records
from imgrec.errors import RunError, UsageError
from imgrec.job import Job
from imgrec.sweeps.run import Sweep
from imgrec.tables import factors
from imgrec.tables.gather import gather
from imgrec.verify import verify

STILL = ("trainer.max_epochs=1", "optimizer=sgd", "optimizer.lr=1e-30")  # a rate at which no weight moves


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two other classes of 20 drawn images each, 8x8, brighter than those of the source."""
    root = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:8, :8]
    masks = {"disc": (rows - 4) ** 2 + (columns - 4) ** 2 < 6, "frame": np.maximum(abs(rows - 4), abs(columns - 4)) > 2}
    for name, mask in masks.items():
        (root / name).mkdir()
        for k in range(20):
            pixels = 100 + 90 * mask[:, :, None] + random.integers(0, 60, (8, 8, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{k:02}.png")
    return root


@pytest.fixture
def words(tiny: list[str], shapes: Path) -> list[str]:
    """The words of a tiny run on the other classes."""
    return [*tiny, f"data.root={shapes}", "data.val_size=8", "data.test_size=8"]


def weights(folder: Path, at: str = "last") -> dict[str, Tensor]:
    """The network's own tensors in a checkpoint of a run."""
    found = torch.load(folder / f"checkpoints/{at}.ckpt", weights_only=True)["state_dict"]
    own = {key.removeprefix("network."): value for key, value in found.items() if key.startswith("network.")}
    return {key: value.contiguous() for key, value in own.items()}  # safetensors takes no other memory format


def id_of(words: list[str], name: str) -> str:
    return launch.train([*words, *STILL, f"init_from={name}"]).record.run_id


def test_other_classes_have_a_new_head_on_the_weights_and_the_normalisation_of_the_source(
    words: list[str], one_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run = launch.train([*words, *STILL, f"init_from={one_run}"])
    own, source = weights(run.folder), weights(one_run, "best")
    assert own.keys() == source.keys()
    assert own["net.classes.weight"].shape == (2, 16)
    for name in own.keys() - {"net.classes.weight", "net.classes.bias"}:
        assert torch.equal(own[name], source[name]), name
    assert "the head (classes) is new, as it is for 2 classes in place of 3 others" in caplog.text
    record = json.loads((one_run / "record.json").read_text())
    sha256 = record["weights"]["best"]
    assert run.record.init == {"path": str(one_run), "sha256": sha256, "run_id": record["run_id"], "at": "best"}


def test_the_same_classes_keep_their_head(tiny: list[str], one_run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run = launch.train([*tiny, *STILL, f"init_from={one_run}"])
    assert run.record.weights["last"] == json.loads((one_run / "record.json").read_text())["weights"]["best"]
    assert "the head included" in caplog.text


@pytest.mark.long
def test_digits_are_learned_faster_from_the_weights_of_other_digits(workplace: Path) -> None:
    """From 0 to 4, with 96 training images of each, to 5 to 9, with 18 of each."""
    digits = load_digits()
    for name, chosen, count in (("low", range(5), 120), ("high", range(5, 10), 60)):
        places = np.concatenate([np.flatnonzero(digits.target == digit)[:count] for digit in chosen])
        arrays = {
            "train_images": (digits.images[places] * 15).astype(np.uint8),
            "classes": np.array(list(map(str, chosen))),
        }
        arrays["train_labels"] = digits.target[places] - chosen[0]
        np.savez(workplace / f"{name}.npz", **arrays)
    words = [
        "data=arrays",
        "data.image_size=8",
        "model.widths=[16,32]",
        "model.hidden=32",
        "model.batch_norm=true",
        "trainer=cpu",
    ]
    words += ["data.batch_size=16", "trainer.threads=1", "trainer.progress=none", "trainer.tensorboard=false"]
    source = launch.train([*words, "data.root=low.npz", "trainer.max_epochs=6"])
    few = [*words, "data.root=high.npz", "data.val_size=0.2", "data.test_size=0.5", "trainer.max_epochs=4"]
    scores = {}
    for name, more in (("tuned", [f"init_from={source.folder}"]), ("scratch", [])):
        run = launch.train([*few, *more])
        score = run.record.score("loss", split="test", at="last")
        assert score is not None
        scores[name] = score.value
    assert scores["tuned"] < 0.85 * scores["scratch"]


@pytest.mark.long
def test_the_id_is_of_the_weights_wherever_they_lie(words: list[str], one_run: Path, workplace: Path) -> None:
    first = id_of(words, str(one_run))
    copy = workplace / "elsewhere/taken.ckpt"
    copy.parent.mkdir()
    shutil.copy(one_run / "checkpoints/best.ckpt", copy)
    shutil.copy(one_run / "checkpoints/best.ckpt.sha256", f"{copy}.sha256")
    own = weights(one_run, "best")
    save_file(own, workplace / "taken.safetensors")
    save_file({f"network.{name}": value for name, value in own.items()}, workplace / "prefixed.safetensors")
    for other in (f"{one_run}/record.json", f"{one_run}/checkpoints/best.ckpt", str(copy), "taken.safetensors"):
        assert id_of(words, other) == first, other
    assert id_of(words, "prefixed.safetensors") == first
    own["net.classes.bias"] = own["net.classes.bias"] + 1
    save_file(own, workplace / "taken.safetensors")
    others = {id_of(words, "taken.safetensors"), launch.train([*words, *STILL]).record.run_id, first}
    assert len(others) == 3


@pytest.mark.long
def test_a_safetensors_file_may_hold_the_network_alone_and_the_data_then_normalise(
    words: list[str], one_run: Path, workplace: Path
) -> None:
    own = {name.removeprefix("net."): value for name, value in weights(one_run).items() if name.startswith("net.")}
    del own["classes.weight"], own["classes.bias"]
    save_file(own, workplace / "backbone.safetensors")
    run, plain = launch.train([*words, *STILL, "init_from=backbone.safetensors"]), launch.train([*words, *STILL])
    found = weights(run.folder)
    assert all(torch.equal(found[f"net.{name}"], value) for name, value in own.items())
    assert torch.equal(found["mean"], weights(plain.folder)["mean"])
    assert not torch.equal(found["mean"], weights(one_run)["mean"])


@pytest.mark.long
def test_the_averaged_weights_are_taken(words: list[str], undisturbed: Callable[..., Path]) -> None:
    source = undisturbed("trainer.max_epochs=1", "trainer.ema_decay=0.8")
    run = launch.train([*words, *STILL, f"init_from={source}/checkpoints/last.ckpt"])
    trained, averaged = state(source)["current_model_state"], weights(source)
    name = "net.stages.0.0.weight"
    assert torch.equal(weights(run.folder)[name], averaged[name])
    assert not torch.equal(trained[f"network.{name}"], averaged[name])


@pytest.mark.long
def test_layers_that_begin_from_data_begin_with_the_source_instead(words: list[str]) -> None:
    small = ["model=whitened_cnn", "model.widths=[4]", "model.depth=1", "optimizer.lr=0.01", "trainer.max_epochs=1"]
    source = launch.train([word for word in words if "widths" not in word and "hidden" not in word] + small)
    again = [word for word in words if "widths" not in word and "hidden" not in word]
    run = launch.train([*again, *small[:3], *STILL, "seed=1", f"init_from={source.folder}"])
    assert torch.equal(weights(run.folder)["net.whiten.weight"], weights(source.folder)["net.whiten.weight"])


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.long
def test_a_run_that_has_begun_needs_its_source_no_more(
    words: list[str], one_run: Path, imgrec: Callable[..., Any], workplace: Path, resume: bool
) -> None:
    """It is stopped in its second epoch, and then the source is gone."""
    shutil.copytree(one_run, workplace / "source")
    long = [*words, "trainer.max_epochs=3", "init_from=source"]
    whole = launch.train([*long, "hydra.run.dir=whole"])
    child = imgrec("train", *long, before=lambda: ended_at(4))
    assert child.wait() == 143, child.log.read_text()
    shutil.rmtree(workplace / "source")
    (cut,) = workplace.glob("outputs/default/*")
    again = launch.train([f"resume={cut}"] if resume else long)
    assert again.folder.resolve() == cut.resolve()
    assert_same_run(whole.folder, cut)
    assert again.record.init == whole.record.init
    before = tree(workplace)
    with pytest.raises(UsageError, match=r"init_from must name .*, and source does not exist; restore it, or name"):
        launch.train([*long, "seed=1"])
    assert tree(workplace) == before


@pytest.mark.long
def test_a_run_that_goes_on_keeps_its_weights_whatever_its_source_holds_now(
    words: list[str], one_run: Path, workplace: Path
) -> None:
    shutil.copytree(one_run, workplace / "source")
    base = launch.train([*words, *STILL, "init_from=source"])
    shutil.rmtree(workplace / "source/checkpoints")
    more = launch.train([f"resume={base.folder}", "trainer.max_epochs=2", "resume_override=[trainer.max_epochs]"])
    assert more.record.init == base.record.init
    with pytest.raises(UsageError, match=r"cannot change init_from source -> other \(a new network alone begins with"):
        launch.train([f"resume={base.folder}", "init_from=other"])


@pytest.mark.long
def test_a_verification_begins_with_the_same_weights(words: list[str], one_run: Path, workplace: Path) -> None:
    shutil.copytree(one_run, workplace / "source")
    run = launch.train([*words, "trainer.max_epochs=1", "init_from=source"])
    assert verify(run.folder).refusal is None
    shutil.rmtree(workplace / "outputs/verify")
    shutil.rmtree(workplace / "source")
    with pytest.raises(UsageError, match="source does not exist; restore it"):
        verify(run.folder)
    assert not (workplace / "outputs/verify").exists()


@pytest.mark.long
def test_a_sweep_varies_the_source_and_its_table_names_it(words: list[str], one_run: Path, workplace: Path) -> None:
    for number, name in enumerate(("loss-mse_seed-0-0123abcd", "loss-brier_seed-1-89abcdef")):
        shutil.copytree(one_run, workplace / f"sources/{name}")
        if number:  # so that they differ
            launch.train([*words, *STILL, "seed=7", f"init_from={one_run}", "hydra.run.dir=other"])
            shutil.rmtree(workplace / f"sources/{name}")
            shutil.copytree(workplace / "other", workplace / f"sources/{name}")
    one, other = (f"sources/{name}" for name in ("loss-mse_seed-0-0123abcd", "loss-brier_seed-1-89abcdef"))
    sweep = Sweep([*words, *STILL, f"init_from=null,{one},{other}", "hydra.sweep.dir=sweep"])
    sweep.run()
    runs = gather([workplace / "sweep"]).runs
    found = factors.derive(runs)
    assert found.keys == ("init_from",)
    assert {found.setting(run) for run in runs} == {("null",), ("loss-mse",), ("loss-brier",)}
    assert {path.name.rpartition("_seed")[0] for path in workplace.glob("sweep/*-*")} == {
        "init-from-null",
        "init-from-loss-mse",
        "init-from-loss-brier",
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("outputs/demo/optimizer-sgd_seed-3-0123abcd", "optimizer-sgd"),
        ("outputs/demo/optimizer-sgd_seed-3-0123abcd/record.json", "optimizer-sgd"),
        ("/x/optimizer-sgd_seed-3_take-2-0123abcd/checkpoints/best.ckpt", "optimizer-sgd"),
        ("optimizer-sgd_seed-3-0123abcd/checkpoints/last.ckpt", "optimizer-sgd/last"),
        ("outputs/demo/seed-3-0123abcd", "demo"),
        ("seed-3-0123abcd", "a-run"),
        ("my weights,[1].safetensors", "my-weights-1-.safetensors"),
    ],
)
def test_a_source_has_a_short_name_without_its_seed(path: str, name: str) -> None:
    from imgrec.config.identity import source_name

    assert source_name(path) == name


def test_a_network_of_other_shapes_is_refused_with_the_key_both_shapes_and_the_source_s_settings(
    words: list[str], one_run: Path, workplace: Path
) -> None:
    before = tree(workplace)
    with pytest.raises(
        UsageError,
        match=r"the weights of model=cnn, and net\.stages\.1\.0\.weight is \(6, 4, 3, 3\) here and \(8, 4, 3, 3\)"
        r" there; the source has images of 8 px and 3 channels, and model\.widths=\[4,8\]$",
    ):
        launch.train([*words, "model.widths=[4,6]", f"init_from={one_run}"])
    assert tree(workplace) == before
    assert launch.train([*words, *STILL, "model.widths=[4,8]", f"init_from={one_run}"]).record.status == "finished"


def _unfinished(source: Path) -> str:
    record = source / "record.json"
    record.write_text(record.read_text().replace('"finished"', '"interrupted"'))
    return str(source)


def _without_checkpoint(source: Path) -> str:
    (source / "checkpoints/best.ckpt").unlink()
    return str(source)


def _of_another_moment(source: Path) -> str:
    record = source / "record.json"
    rows = json.loads(record.read_text())
    rows["weights"]["best"] = "0" * 64
    record.write_text(json.dumps(rows))
    return str(source)


def _damaged(source: Path) -> str:
    (source / "checkpoints/best.ckpt").write_bytes(b"damaged")
    return str(source)


def _plain(source: Path) -> str:
    torch.save({"weight": torch.zeros(1)}, source / "plain.pth")
    return str(source / "plain.pth")


def _damaged_safetensors(source: Path) -> str:
    (source / "x.safetensors").write_bytes(b"damaged")
    return str(source / "x.safetensors")


def _infinite(source: Path) -> str:
    own = weights(source)
    own["net.hidden.1.bias"][0] = float("inf")
    save_file(own, source / "x.safetensors")
    return str(source / "x.safetensors")


def _nothing(source: Path) -> str:
    return str(source / "checkpoints")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            _unfinished,
            r"must be a finished run, and is interrupted; finish it, or name a checkpoint, such as .*last\.ckpt",
        ),
        (
            _without_checkpoint,
            r"must be a run with its checkpoints, and .*best\.ckpt is not there; restore it, or name",
        ),
        (
            _of_another_moment,
            r"must hold the weights that the record of its run names, 000000000000\.\.\., got .*; restore",
        ),
        (_damaged, r"best\.ckpt must have the SHA-256 in best\.ckpt\.sha256.*; use an intact copy"),
        (
            _plain,
            r"must be a checkpoint that imgrec wrote, or a \.safetensors file, and is neither; write its tensors with",
        ),
        (
            _damaged_safetensors,
            r"must be a \.safetensors file, and is damaged or something else .*; use an intact copy",
        ),
        (_infinite, r"must name finite weights, and net\.hidden\.1\.bias there has a value that is not; name another"),
        (_nothing, r"must name a run's folder, a checkpoint or a \.safetensors file, and .* is none; name .*source"),
    ],
)
def test_weights_that_cannot_be_taken_are_refused(
    words: list[str], one_run: Path, workplace: Path, make: Callable[[Path], str], said: str
) -> None:
    shutil.copytree(one_run, workplace / "source")
    with pytest.raises((RunError, UsageError), match=said):
        launch.train([*words, *STILL, f"init_from={make(workplace / 'source')}"])


def test_a_checkpoint_of_an_unfinished_run_can_be_named(words: list[str], one_run: Path, workplace: Path) -> None:
    shutil.copytree(one_run, workplace / "source")
    folder = _unfinished(workplace / "source")
    assert launch.train([*words, *STILL, f"init_from={folder}/checkpoints/last.ckpt"]).record.status == "finished"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["init_from="], "must name a run's folder, a checkpoint or a .safetensors file, got ''; leave it out"),
        (
            ["model=resnet18", "model.stem=imagenet", "model.pretrained=true", "init_from=x"],
            r"init_from and model.pretrained=true both say what the network begins with; leave one out",
        ),
    ],
)
def test_a_configuration_says_once_what_the_network_begins_with(more: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        launch.train(["data=digits", *more])


def test_a_run_refuses_weights_that_have_changed_since_the_command(
    words: list[str], one_run: Path, workplace: Path
) -> None:
    """As in a queue: the job was made of other weights."""
    from imgrec import run_lookup
    from imgrec.config.compose import compose
    from imgrec.data import inventory
    from imgrec.training.run import train

    save_file(weights(one_run), workplace / "x.safetensors")
    config = compose([*words, *STILL, "init_from=x.safetensors"])
    seen = inventory.take(config.data)
    found = run_lookup.place(config, [], seen)
    job = Job(
        config=config,
        folder=workplace / "run",
        run_id=found.run_id,
        fingerprint=seen.fingerprint,
        begins_with=found.begins_with,
    )
    job = Job.from_json(job.to_json(), "the test")
    save_file({name: value * 2 for name, value in weights(one_run).items()}, workplace / "x.safetensors")
    with pytest.raises(RunError, match="must hold the weights that it held when the command began"):
        train(job)


def test_the_digest_of_a_run_is_that_of_its_network(one_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a sweep over many finished runs reads no checkpoint before it begins."""
    record = records.read(one_run / "record.json")
    assert initial.digest(str(one_run / "checkpoints/best.ckpt")) == record.weights["best"]
    monkeypatch.setattr(checkpoint, "load", lambda path: pytest.fail(f"read {path}"))
    assert initial.digest(str(one_run)) == record.weights["best"]
