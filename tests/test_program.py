"""Test what a program can do with imgrec beside a single run: sweep, predict, take parts, list choices."""

import csv
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image

import imgrec
from imgrec.data.source import ReadError
from imgrec.errors import RunError, UsageError

PUBLIC = {
    "Choice", "Interrupted", "Outcome", "Parts", "Prediction", "Record", "RunError", "Score", "Trained", "UsageError",
    "__version__", "choices", "compose", "load", "load_curves", "load_runs", "sweep", "train",
}  # fmt: skip


def test_the_public_names_stay() -> None:
    """A name may be added here; to take one away breaks programs, and is told in CHANGELOG.md a release before."""
    assert set(imgrec.__all__) == PUBLIC


# ---- sweep


@pytest.mark.long
def test_a_sweep_returns_its_runs_in_order_and_goes_on(tiny: list[str]) -> None:
    words = [*tiny, "trainer.max_epochs=1", "hydra.sweep.dir=runs"]
    first = imgrec.sweep([*words, "seed=1"])
    assert [(each.record.config["seed"], each.already) for each in first] == [(1, False)]
    both = imgrec.sweep([*words, "seed=0,1"])
    assert [(each.record.config["seed"], each.already) for each in both] == [(0, False), (1, True)]
    assert both[1].folder.resolve() == first[0].folder.resolve()
    assert len(imgrec.load_runs("runs")) == 2


@pytest.mark.long
def test_a_sweep_with_a_failing_run_raises_and_keeps_the_others(tiny: list[str]) -> None:
    words = [*tiny, "trainer.max_epochs=1", "hydra.sweep.dir=runs", "optimizer.lr=0.001,1e30"]
    with pytest.raises(RunError, match=r"1 of 2 runs failed"):
        imgrec.sweep(words)
    assert sorted(imgrec.load_runs("runs").status) == ["failed", "finished"]


@pytest.mark.long
def test_a_sweep_refuses_what_the_command_refuses(tiny: list[str]) -> None:
    with pytest.raises(UsageError, match="optimizer"):
        imgrec.sweep([*tiny, "optimizer=sgd,adma"])
    with pytest.raises(UsageError, match=r"sweep\.estimate=true carries nothing out; give it to imgrec train -m"):
        imgrec.sweep([*tiny, "seed=0,1", "sweep.estimate=true"])


@pytest.mark.slow
def test_a_script_sweeps_with_a_pool(tiny: list[str], workplace: Path) -> None:
    words = [*tiny, "trainer.max_epochs=1", "seed=0,1", "launcher=pool", "launcher.processes=2", "hydra.sweep.dir=runs"]
    script = f"""
        import imgrec

        if __name__ == "__main__":
            print(len(imgrec.sweep({words!r})))
    """
    Path("script.py").write_text(textwrap.dedent(script))
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert done.stdout.strip().splitlines()[-1] == "2", done.stdout + done.stderr


# ---- predict


@pytest.fixture
def trained(one_run: Path) -> imgrec.Trained:
    return imgrec.load(one_run)


def test_pixels_of_every_form_are_predicted_alike(trained: imgrec.Trained) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    expected = trained.predict(pixels)
    assert expected.probabilities_nk.sum(dim=1).tolist() == pytest.approx([1] * 5)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for same in (tensor, tensor.numpy(), tensor.float() / 255, (tensor.double() / 255).numpy()):
        assert torch.allclose(trained.predict(same).probabilities_nk, expected.probabilities_nk, atol=1e-6)
    logits = trained.network(tensor.float() / 255)
    assert torch.allclose(logits.softmax(dim=1), expected.probabilities_nk, atol=1e-6)
    assert trained.predict(pixels[2]).labels == expected.labels[2:3], "a single image"
    assert torch.allclose(trained.predict(pixels, batch_size=2).probabilities_nk, expected.probabilities_nk, atol=1e-6)
    assert len(trained.predict(pixels[:0])) == 0
    assert expected.labels == [trained.classes[k] for k in logits.argmax(dim=1)]


def test_files_are_predicted_as_the_run_reads_them(trained: imgrec.Trained, tiny_images: Path, tmp_path: Path) -> None:
    paths = sorted(tiny_images.glob("*/0[0-3].png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert torch.equal(trained.predict(paths).probabilities_nk, trained.predict(pixels).probabilities_nk)
    assert trained.predict(str(paths[0])).labels == trained.predict(paths[:1]).labels
    Path(tmp_path / "text.png").write_text("no image")
    with pytest.raises(ReadError, match="must be a whole image"):
        trained.predict(tmp_path / "text.png")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (
            np.zeros((2, 9, 9, 3), np.uint8),
            r"must have the shape \(N, 3, 8, 8\) or \(N, 8, 8, 3\), .* got \(2, 9, 9, 3\)",
        ),
        (np.zeros((8, 8), np.uint8), r"got \(8, 8\); resize them, or give the paths"),
        (np.full((1, 8, 8, 3), 255.0), r"floats in \[0, 1\], got floats from 255 to 255"),
        (np.full((1, 8, 8, 3), np.nan), r"floats in \[0, 1\], got floats from nan to nan"),
        (np.zeros((1, 8, 8, 3), np.int64), r"must be uint8, or floats in \[0, 1\], got torch.int64"),
        ([np.zeros((8, 8, 3), np.uint8)], r"got a sequence of something else; numpy\.stack joins arrays"),
        (7, r"got int; numpy\.stack joins arrays"),
    ],
)
def test_what_is_no_image_is_refused(trained: imgrec.Trained, images: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trained.predict(images)


def test_the_command_names_what_it_sees(
    one_run: Path, tiny_images: Path, workplace: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    paths = [str(path) for path in sorted(tiny_images.glob("*/00.png"))]
    code, out, err = command("predict", str(one_run), *paths, "-o", "said.csv")
    assert code == 0, err
    said = imgrec.load(one_run).predict(paths)
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        [path, label] for path, label in zip(paths, said.labels, strict=True)
    ]
    rows = list(csv.DictReader(Path("said.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == said.labels
    assert [float(row["row"]) for row in rows] == pytest.approx(said.probabilities_nk[:, 2].tolist(), abs=1e-6)
    assert "probabilities" not in err
    code, _, err = command("predict", str(one_run), "nowhere.png")
    assert code == 1
    assert "'nowhere.png': must be an image, and there is nothing; check the path" in err


@pytest.mark.long
def test_numbers_that_are_no_probabilities_are_told_as_such(
    undisturbed: Callable[..., Path],
    tiny_images: Path,
    workplace: Path,
    command: Callable[..., tuple[int, str, str]],
) -> None:
    run, path = undisturbed("loss=hinge", "trainer.max_epochs=1"), str(tiny_images / "row/00.png")
    code, out, err = command("predict", str(run), path, "-o", "said.csv")
    assert code == 0
    assert out.splitlines()[0].split() == [path, imgrec.load(run).predict(path).labels[0]], "no confidence beside it"
    assert err.endswith(
        "loss=hinge estimates no probabilities: the numbers in said.csv only order the classes of each image\n"
    )


# ---- parts


@pytest.mark.long
def test_the_parts_are_those_of_the_run(tiny: list[str], undisturbed: Callable[..., Path]) -> None:
    """Trained by a plain Trainer, they give the losses that the run's curves have."""
    words = [*tiny, "trainer.max_epochs=2", "augment=crop_flip"]
    run = undisturbed("trainer.max_epochs=2", "augment=crop_flip")
    before = torch.random.get_rng_state()
    parts = imgrec.compose(words)
    assert torch.equal(torch.random.get_rng_state(), before)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, use_distributed_sampler=False, deterministic=True,
    )  # fmt: skip
    trainer.fit(parts.module, parts.data)
    ends = imgrec.load(run, at="last").network.state_dict()
    for name, value in parts.module.network.state_dict().items():
        assert torch.equal(value, ends[name]), name
    (tested,) = trainer.test(parts.module, parts.data, verbose=False)
    record = imgrec.load_runs(run).iloc[0]
    assert tested["test/top1"] == pytest.approx(record.test_top1_last, abs=1e-6)
    trainer.save_checkpoint("mine.ckpt")
    mine = imgrec.load("mine.ckpt")
    assert mine.classes == ("column", "diagonal", "row")
    assert mine.run_id != record.run_id, "the run did not train it"


def test_lightning_may_not_divide_the_images_once_more(tiny: list[str]) -> None:
    parts = imgrec.compose(tiny)

    class Connector:
        use_distributed_sampler = True

    class Two:
        world_size, global_rank, _accelerator_connector = 2, 0, Connector

    parts.data.trainer = Two()  # type: ignore[assignment]
    with pytest.raises(UsageError, match=r"give lightning\.Trainer use_distributed_sampler=False"):
        parts.data.train_dataloader()
    Connector.use_distributed_sampler = False
    assert len(parts.data._place()) == 2


@pytest.mark.parametrize(
    "word",
    [
        *("resume=RUN", "data.prune=0.4", "callbacks=[gradient_norm]"),
        *("trainer.ema_decay=0.9", "trainer.precision=bf16-mixed", "trainer.swa_from=0.5"),
    ],
)
def test_what_the_parts_cannot_do_by_themselves_is_refused(tiny: list[str], word: str) -> None:
    key = word.partition("=")[0]
    with pytest.raises(UsageError, match=rf"only imgrec\.train carries out {key}; leave it out, or use imgrec\.train"):
        imgrec.compose([*tiny, "trainer.max_epochs=4", word])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"accumulate_grad_batches": 2}, r"a lightning\.Trainer with accumulate_grad_batches=1, .* got 2; give that"),
        ({"precision": "16-mixed"}, r"with precision='32-true' or 'bf16-mixed', .* got '16-mixed'; give that"),
    ],
)
def test_a_trainer_with_which_sam_would_take_other_steps_is_refused(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    """The CPU has no 16-mixed: Lightning itself would take bf16-mixed there."""
    common: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    common |= {"enable_checkpointing": False, "use_distributed_sampler": False}
    parts = imgrec.compose([*tiny, "optimizer.sam_rho=0.05"])
    with monkeypatch.context() as patched:
        for key in given.keys() & {"precision"}:
            patched.setattr(lightning.Trainer, key, given[key])
        trainer = lightning.Trainer(**common, **{key: value for key, value in given.items() if key != "precision"})
        with pytest.raises(UsageError, match=said):
            trainer.fit(parts.module, parts.data)
    lightning.Trainer(**common).fit(parts.module, parts.data)
    plain = imgrec.compose([*tiny, "optimizer.sam_rho=0"])
    lightning.Trainer(**common, accumulate_grad_batches=2).fit(plain.module, plain.data)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.freeze=backbone"], "and these would begin and stay random; give init_from=RUN"),
        (["model=vgg16_bn"], "model=vgg16_bn needs images of at least 32 px, got 8; give data.image_size=32"),
        (
            ["model=torchvision", "model.architecture=vit_b_16"],
            "model.architecture=vit_b_16 takes images of 16 px, and no smaller",
        ),
    ],
)
def test_parts_that_no_run_could_begin_with_are_refused(tiny: list[str], words: list[str], said: str) -> None:
    others = [word for word in tiny if not word.startswith("model.")]
    with pytest.raises(UsageError, match=said):
        imgrec.compose([*others, *words])


def test_parts_begin_with_the_weights_that_are_named(tiny: list[str], one_run: Path) -> None:
    parts = imgrec.compose([*tiny, f"init_from={one_run}"])
    expected = imgrec.load(one_run).network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in parts.module.network.state_dict().items())


# ---- choices


def test_every_axis_has_choices_with_an_explanation() -> None:
    adam = imgrec.choices("optimizer")["adam"]
    assert adam.settings["lr"] == 1e-3
    assert adam.explanation.startswith("Adam")
    assert "name" not in adam.settings
    assert {"clean", "tta_flip"} <= imgrec.choices("protocol").keys()
    with pytest.raises(UsageError, match=r"axis must be .* got 'optimiser'"):
        imgrec.choices("optimiser")


def test_a_folder_of_one_s_own_has_choices_too(workplace: Path) -> None:
    Path("mine/optimizer").mkdir(parents=True)
    Path("mine/optimizer/calm.yaml").write_text("# Adam, slowly.\ndefaults: [adam, _self_]\nlr: 1e-5\n")
    calm = imgrec.choices("optimizer", config_dir="mine")["calm"]
    assert (calm.explanation, calm.settings["lr"]) == ("Adam, slowly.", 1e-5)
    assert "calm" not in imgrec.choices("optimizer")
