"""Test one run through its public function: the files that it writes, and that its options work."""

import csv
import json
import math
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from imgrec import assembly, checkpoint, launch
from imgrec.classifier import Classifier
from imgrec.config import serialize
from imgrec.curve_file import CURVE_COLUMNS, read_curves
from imgrec.data import sources
from imgrec.data.resident import ResidentBatches
from imgrec.errors import RunError, UsageError
from imgrec.launch import Outcome
from imgrec.rebuilding import rebuild
from imgrec.training import failures


def run(words: list[str], *more: str) -> Outcome:
    return launch.train([*words, *more])


def load(outcome: Outcome, name: str = "last.ckpt") -> dict[str, Any]:
    return torch.load(outcome.folder / "checkpoints" / name, weights_only=True)


@pytest.mark.long
def test_a_run_leaves_the_whole_contract_behind(tiny: list[str]) -> None:
    outcome = run(tiny, "trainer.max_epochs=2", "trainer.tensorboard=true")
    folder, record = outcome.folder, outcome.record
    assert folder.parent == Path("outputs/default")
    assert folder.name.endswith(f"seed-0-{record.run_id[:8]}")
    assert {path.name for path in folder.iterdir()} == {
        "checkpoints",
        "config.yaml",
        "curves.csv",
        "diagnostics.json",
        "predictions.npz",
        "record.json",
        "run.lock",
        "tensorboard",
        "train.log",
        "trained_images.bin",
    }
    names = {f"{stem}.ckpt{end}" for stem in ("last", "previous", "best") for end in ("", ".sha256")}
    assert {path.name for path in (folder / "checkpoints").iterdir()} == names
    rows = json.loads((folder / "record.json").read_text())
    assert rows["schema"] == 1
    assert rows["status"] == "finished"
    assert rows["error"] is None
    assert rows["command"] == [*tiny, "trainer.max_epochs=2", "trainer.tensorboard=true"]
    assert serialize.from_flat(rows["config"]) == launch.compose(rows["command"])
    assert rows["progress"]["epochs"] == 2
    assert rows["progress"]["steps"] == 16
    assert rows["cost"]["parameters"] == (3 * 9 + 1) * 4 + (4 * 9 + 1) * 8 + (8 * 4 + 1) * 16 + (16 + 1) * 3
    # multiplications and additions of two convolutions at 8x8 and 4x4, and two linear layers
    assert rows["cost"]["flops_per_image"] == 2 * (64 * 27 * 4 + 16 * 36 * 8 + 32 * 16 + 16 * 3)
    assert rows["cost"]["images_per_second"] > 0
    assert rows["environment"]["torch"] == torch.__version__.split("+")[0]
    measured = {(row["split"], row["at"], row["metric"]) for row in rows["scores"]}
    assert measured == {
        (split, at, metric)
        for split in ("val", "test")
        for at in ("best", "last")
        for metric in ("top1", "loss", "iou", "balanced_accuracy", "macro_f1", "ece")
    }, "three classes have no top5"


def test_the_scores_are_those_of_the_saved_network(tiny: list[str]) -> None:
    outcome = run(tiny, "trainer.max_epochs=3")
    for at in ("best", "last"):
        trained = rebuild(outcome.folder / "checkpoints" / f"{at}.ckpt")
        assert outcome.record.weights[at] == checkpoint.digest(trained.network.state_dict())
        test = assembly.source(trained.config).open_test()
        assert test is not None
        pixels, _ = test.read(torch.arange(len(test)))
        with torch.no_grad():
            predicted = trained.network(pixels / 255).argmax(dim=1)
        expected = {
            "top1": accuracy_score(test.labels, predicted),
            "iou": jaccard_score(test.labels, predicted, average="macro"),
        }
        for metric, value in expected.items():
            score = outcome.record.score(metric, split="test", at=at)
            assert score is not None
            assert score.value == pytest.approx(value, abs=1e-6)
            assert score.n == 12
        shown = json.loads((outcome.folder / "diagnostics.json").read_text())[at]["test"]
        assert shown["confusion"] == confusion_matrix(test.labels, predicted).tolist()


def test_it_trains_as_a_loop_of_plain_pytorch_does(tiny: list[str]) -> None:
    words = [*tiny, "optimizer=sgd", "optimizer.lr=0.1", "trainer.max_epochs=2", "trainer.channels_last=false"]
    outcome = run(words)
    config = launch.compose(words)
    torch.manual_seed(config.seed)
    images = assembly.source(config)
    network = assembly.classifier(config, images, run_id="", fingerprint="", resumed=False).network.train()
    loader = assembly.datamodule(config, images).train_dataloader()
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        for pixels, labels in loader:
            loss = torch.nn.functional.cross_entropy(network(pixels), labels)
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    parameter -= 0.1 * gradient
    for name, value in network.state_dict().items():
        torch.testing.assert_close(load(outcome)["state_dict"][f"network.{name}"], value, rtol=1e-5, atol=1e-7)


@pytest.mark.long
def test_curves_hold_every_step_and_epoch(tiny: list[str]) -> None:
    outcome = run(tiny, "trainer.max_epochs=2", "trainer.log_every=3")
    with (outcome.folder / "curves.csv").open() as file:
        assert tuple(next(csv.reader(file))) == CURVE_COLUMNS
    rows = read_curves(outcome.folder / "curves.csv")
    steps = [int(row["step"]) for row in rows if row["metric"] == "step_loss"]
    assert steps == [3, 6, 9, 12, 15]
    for split in ("train", "val"):
        top1 = [(row["step"], row["epoch"]) for row in rows if (row["split"], row["metric"]) == (split, "top1")]
        assert top1 == [("8", "1"), ("16", "2")]
    assert all(math.isfinite(float(row["value"])) for row in rows)


def test_it_learns(tiny: list[str]) -> None:
    outcome = run(tiny, "trainer.max_epochs=25", "optimizer.lr_scale=5")
    score = outcome.record.score("top1", split="test", at="last")
    assert score is not None
    assert score.value >= 0.9


@pytest.mark.long
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tiny: list[str]) -> None:
    words = [*tiny, "trainer.max_epochs=1", "augment=cutmix", "model.dropout=0.2"]
    one = run(words, "hydra.run.dir=one").record.weights
    assert run(words, "hydra.run.dir=two").record.weights == one
    assert run(words, "seed=1").record.weights != one


@pytest.mark.parametrize("augment", ["crop_flip", "cutmix"])
@pytest.mark.long
def test_resident_images_give_the_same_bits(workplace: Path, augment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    make = ResidentBatches.__getitem__

    def counted(self: ResidentBatches, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        made.append(key)
        return make(self, key)

    monkeypatch.setattr(ResidentBatches, "__getitem__", counted)
    words = ["data=digits", "model.widths=[4,8]", "model.hidden=16", "optimizer=adam", f"augment={augment}"]
    words += ["trainer=cpu", "trainer.threads=1", "trainer.max_epochs=2", "trainer.tensorboard=false"]
    words += ["trainer.progress=none", "trainer.log_every=1"]
    plain = run(words, "hydra.run.dir=plain")
    assert not made
    resident = run(words, "data.resident=true", "hydra.run.dir=resident")
    assert made == [(epoch, number) for epoch in (0, 1) for number in range(10)]
    assert resident.record.run_id == plain.record.run_id
    assert resident.record.weights == plain.record.weights
    assert resident.record.scores == plain.record.scores


def test_best_is_the_epoch_with_the_highest_validation_top1(tiny: list[str]) -> None:
    outcome = run(tiny, "trainer.max_epochs=6", "optimizer.lr_scale=20")
    rows = read_curves(outcome.folder / "curves.csv")
    val = {
        metric: [float(row["value"]) for row in rows if (row["split"], row["metric"]) == ("val", metric)]
        for metric in ("top1", "loss")
    }
    best = min(range(6), key=lambda epoch: (-val["top1"][epoch], val["loss"][epoch], epoch))
    assert outcome.record.progress["best"]["epoch"] == best + 1
    assert load(outcome, "best.ckpt")["global_step"] == 8 * (best + 1)


@pytest.mark.long
def test_a_folder_is_listed_once_before_a_run_and_once_in_it(
    tiny: list[str], tiny_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    scandir = os.scandir

    def noted(place: Any = ".") -> Any:
        listed.append(str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", noted)
    run(tiny, "trainer.max_epochs=1")
    assert listed.count(str(tiny_images / "row")) == 2


def test_test_false_leaves_the_test_set_closed(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise AssertionError("the test set was opened")

    source = sources.load

    def closed(*arguments: Any) -> Any:
        images = source(*arguments)
        images.open_test = refuse.__get__(images)
        return images

    monkeypatch.setattr(sources, "load", closed)
    record = run(tiny, "trainer.max_epochs=1", "test=false").record
    assert {score.split for score in record.scores} == {"val"}
    with pytest.raises(AssertionError, match="was opened"):
        run(tiny, "trainer.max_epochs=1")


def test_without_validation_there_is_no_best(tiny: list[str]) -> None:
    outcome = run(tiny, "trainer.max_epochs=1", "data.val_size=0")
    assert {(score.split, score.at) for score in outcome.record.scores} == {("test", "last")}
    assert not (outcome.folder / "checkpoints/best.ckpt").exists()
    with pytest.raises(UsageError, match=r"trainer\.early_stopping needs validation images"):
        run(tiny, "data.val_size=0", "trainer.early_stopping=2")


@pytest.mark.long
def test_early_stopping_stops_and_does_not_start_again(tiny: list[str]) -> None:
    words = [*tiny, "trainer.max_epochs=50", "trainer.early_stopping=2", "optimizer=sgd", "optimizer.lr=1e-9"]
    outcome = run(words)
    assert outcome.record.progress["epochs"] == 3, "one best epoch, two without a better one"
    rows = json.loads((outcome.folder / "record.json").read_text())
    (outcome.folder / "record.json").write_text(json.dumps({**rows, "status": "interrupted"}))
    assert run(words).record.progress["epochs"] == 3


@pytest.mark.long
def test_under_an_average_the_scores_are_of_the_averaged_weights(tiny: list[str]) -> None:
    outcome = run(tiny, "trainer.max_epochs=2", "trainer.ema_decay=0.9")
    state = load(outcome)
    averaged = {name.removeprefix("network."): value for name, value in state["state_dict"].items()}
    assert outcome.record.weights["last"] == checkpoint.digest(averaged)
    current = {name.removeprefix("network."): value for name, value in state["current_model_state"].items()}
    assert checkpoint.digest(current) != outcome.record.weights["last"]


@pytest.mark.long
def test_statistics_of_the_average_are_those_that_its_own_activations_have(tiny: list[str]) -> None:
    """Averaged, they are those of other weights: after 8 steps at a decay of 0.99 nearly those of the first step."""
    words = [*tiny, "trainer.max_epochs=1", "trainer.ema_decay=0.99", "model.batch_norm=true", "optimizer=sgd"]
    averaged = run(words)
    recomputed = run(words, "trainer.ema_statistics=recomputed")
    assert averaged.record.run_id != recomputed.record.run_id
    states = [load(outcome)["state_dict"] for outcome in (averaged, recomputed)]
    weights = [name for name in states[0] if "running" not in name]
    assert all(torch.equal(states[0][name], states[1][name]) for name in weights)
    mean = next(name for name in states[0] if name.endswith("running_mean"))
    assert not torch.equal(states[0][mean], states[1][mean])


@pytest.mark.parametrize(
    "said",
    ["CUDA error: out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED"],
)
def test_missing_memory_of_a_gpu_is_told_as_such(tiny: list[str], monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def step(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(Classifier, "training_step", step)
    with pytest.raises(RunError, match=r"there must be memory for the network and a batch.*lower data\.batch_size"):
        run(tiny, "trainer.max_epochs=1")
    alone, shared = (failures.explained(RuntimeError(said), Path("run"), None, shared=number) for number in (1, 3))
    assert str(shared) == f"{alone}, or launcher.per_gpu, as 3 runs at a time share the GPU"


@pytest.mark.long
def test_accumulated_batches_step_as_one_batch(tiny: list[str]) -> None:
    plain_sgd = [*tiny, "optimizer=sgd", "trainer.max_epochs=2", "data.val_size=0", "data.test_size=20"]  # 64 images
    whole = load(run(plain_sgd, "data.batch_size=16"))
    parts = load(run(plain_sgd, "data.batch_size=8", "trainer.accumulate=2"))
    assert whole["global_step"] == parts["global_step"] == 8
    for name, value in whole["state_dict"].items():
        torch.testing.assert_close(parts["state_dict"][name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_an_epochs_last_step_follows_the_mean_gradient_of_the_batches_that_are_left(tiny: list[str]) -> None:
    """64 images in 4 batches: 3 batches make a step, and the last batch alone makes another, which is no smaller."""
    words = [
        *tiny,
        "optimizer=sgd",
        "optimizer.lr=1e-3",
        "trainer.max_epochs=1",
        "data.val_size=0",
        "data.test_size=20",
    ]
    start = load(run(words, "data.batch_size=64", "optimizer.lr=1e-12"))["state_dict"]
    moved = {}
    for steps, more in ((1, ("data.batch_size=64",)), (2, ("data.batch_size=16", "trainer.accumulate=3"))):
        state = load(run(words, *more))
        assert state["global_step"] == steps
        changes = [value - start[name] for name, value in state["state_dict"].items() if value.is_floating_point()]
        moved[steps] = torch.cat([change.flatten() for change in changes])
    # at so low a rate the gradients stay as they are: two steps go about twice as far as one, in its direction
    assert moved[2] @ moved[1] / (moved[1] @ moved[1]) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize(
    "optimizer", ["sgd", "momentum", "adam", "adamw", "adagrad", "rmsprop", "muon", "muon_sgd", "schedule_free"]
)
@pytest.mark.long
def test_every_optimizer_trains(tiny: list[str], optimizer: str) -> None:
    schedule = "constant" if optimizer == "schedule_free" else "cosine"
    words = [*tiny, f"optimizer={optimizer}", "optimizer.lr_scale=0.1", f"schedule={schedule}", "schedule.warmup=0.1"]
    outcome = run(words, "trainer.max_epochs=1", "trainer.gradient_clip=1", "trainer.precision=bf16-mixed")
    rates = [float(row["value"]) for row in read_curves(outcome.folder / "curves.csv") if row["metric"] == "lr"]
    assert len(rates) == 8
    assert outcome.record.status == "finished"


@pytest.mark.parametrize("loss", ["cross_entropy", "label_smoothing", "mse", "brier", "focal", "hinge"])
@pytest.mark.long
def test_every_loss_takes_hard_and_mixed_targets(tiny: list[str], loss: str) -> None:
    """The targets of training images are mixed, those of validation images hard."""
    assert run(tiny, f"loss={loss}", "augment=cutmix", "trainer.max_epochs=1").record.status == "finished"


@pytest.mark.parametrize("protocol", ["clean", "tta_flip", "tta_flip_shift"])
def test_the_final_reading_measures_the_protocols_that_are_named(tiny: list[str], protocol: str) -> None:
    record = run(tiny, "trainer.max_epochs=1", f"test_protocols=[{protocol}]").record
    assert {score.protocol for score in record.scores if score.split == "test"} == {protocol}
    assert {score.protocol for score in record.scores if score.split == "val"} == {"clean", protocol}


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.long
def test_no_worker_outlives_a_failure(tiny: list[str], tiny_images: Path, workplace: Path, split: str) -> None:
    """If the garbage collector ended the workers, each would take another five seconds."""
    for each in ("train", "val", "test"):
        shutil.copytree(tiny_images, workplace / "photos" / each)
    (workplace / "photos" / split / "row/00.png").write_bytes(b"text")
    with pytest.raises(RunError, match=f"{split}/row/00.png"):
        run(tiny, "data.root=photos", "data.num_workers=2", "trainer.max_epochs=1")
    assert not multiprocessing.active_children()


@pytest.mark.long
def test_a_failure_is_recorded_and_the_next_start_goes_on(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    save = checkpoint.save_generation
    calls = []

    def full(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise RunError("last.ckpt cannot be saved: No space left on device")
        save(*arguments)

    monkeypatch.setattr("imgrec.training.checkpoint_io.save_generation", full)
    with pytest.raises(RunError, match="No space left"):
        run(tiny, "trainer.max_epochs=3")
    (path,) = Path("outputs").rglob("record.json")
    rows = json.loads(path.read_text())
    assert rows["status"] == "failed"
    assert "No space left" in rows["error"]
    outcome = run(tiny, "trainer.max_epochs=3")
    assert outcome.record.status == "finished"
    assert outcome.record.progress["steps"] == 24
    monkeypatch.undo()
