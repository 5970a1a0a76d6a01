"""Test resumed runs with changes: each key takes effect as in a run that always had it, or is refused.

The settings in force at the resumed run's first step are compared with those of a new run of that configuration. The
table is in imgrec.config.changes.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import state, tree

from imgrec import launch, runfolder
from imgrec.config.changes import REFUSED, change_of, changeable_keys
from imgrec.config.overrides import key_of
from imgrec.config.schemas import keys_outside_identity
from imgrec.curve_file import read_curves
from imgrec.errors import UsageError
from imgrec.training.saver import Saver

# Runs of one epoch, and words that each change a key of them. All are changed at once; the slow tests change one.
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "adam": (
        ("schedule=cosine",),
        (
            "seed=5",
            "data.batch_size=10",
            "data.on_error=skip",
            "data.sampler=balanced",
            "augment.policy=randaugment",
            "augment.policy_ops=1",
            "augment.policy_magnitude=5",
            "augment.crop_padding=1",
            "augment.crop_border=reflect",
            "augment.flip=true",
            "augment.flip_rule=alternating",
            "augment.brightness=0.1",
            "augment.contrast=0.1",
            "augment.cutout_size=2",
            "augment.erase_probability=0.5",
            "augment.mix=mixup_cutmix",
            "augment.mix_alpha=0.5",
            "augment.mix_probability=0.5",
            "augment.cutmix_alpha=2",
            "augment.mix_switch=0.3",
            "model.activation=gelu",
            "model.dropout=0.3",
            "loss=label_smoothing",
            "loss.smoothing=0.2",
            "loss.class_weights=[1,2,3]",
            "optimizer.lr=0.003",
            "optimizer.lr_scale=2",
            "optimizer.weight_decay=0.25",
            "optimizer.beta1=0.8",
            "optimizer.beta2=0.99",
            "optimizer.eps=1e-6",
            "schedule.warmup=0.25",
            "schedule.final=0.1",
            "trainer.max_epochs=4",
            "trainer.precision=bf16-mixed",
            "trainer.channels_last=false",
            "trainer.compile=true",
            "trainer.deterministic=false",
            "trainer.accumulate=2",
            "trainer.gradient_clip=1",
            "trainer.ema_decay=0.8",
            "trainer.nonfinite_skips=3",
            "trainer.early_stopping=3",
        ),
    ),
    "momentum": (
        ("optimizer=momentum", "augment=crop_flip"),
        (
            "augment=none",
            "augment.crop_padding=0",
            "augment.flip=false",
            "data.prune=0.4",
            "data.prune_after=0.6",
            "loss=focal",
            "loss.gamma=3",
            "optimizer.momentum=0.5",
            "optimizer.nesterov=true",
            "optimizer.sam_rho=0.05",
            "schedule=step",
            "schedule.milestones=[0.25,0.5]",
            "schedule.gamma=0.5",
            "trainer.max_epochs=4",
        ),
    ),
    "muon_sgd": (
        ("model=whitened_cnn", "model.widths=[4,8]", "optimizer=muon_sgd", "model.hidden=", "data.image_size=8"),
        (
            "augment.sizes=[5,6]",
            "augment.sizes_until=[0.25,0.75]",
            "data.image_size=16",
            "loss=mse",
            "loss.true_weight=2",
            "loss.true_value=3",
            "model.activation=relu",
            "model.residual=true",
            "model.norm_momentum=0.5",
            "optimizer.bias_lr=1",
            "optimizer.head_lr=2",
            "optimizer.sgd_momentum=0.5",
            "optimizer.momentum=0.7",
            "optimizer.ns_steps=4",
            "schedule=one_cycle",
            "schedule.peak_at=0.5",
            "schedule.start=0.1",
            "schedule.final=0.2",
            "trainer.max_epochs=4",
        ),
    ),
    "muon": (
        ("optimizer=muon", "loss=hinge", "trainer.ema_decay=0.5", "trainer.early_stopping=2"),
        (
            "loss.margin=2",
            "optimizer.constant_norm=true",
            "optimizer.adamw_lr=0.01",
            "optimizer.adamw_beta1=0.8",
            "optimizer.adamw_beta2=0.9",
            "optimizer.adamw_eps=1e-6",
            "schedule=linear",
            "trainer.ema_decay=0.9",
            "trainer.ema_statistics=recomputed",
            "trainer.early_stopping=4",
            "trainer.max_epochs=4",
        ),
    ),
    "rmsprop": (("optimizer=rmsprop",), ("optimizer.alpha=0.8", "trainer.max_epochs=2")),
    "lamb": (("optimizer=lamb",), ("optimizer.max_grad_norm=2", "trainer.max_epochs=2")),
    "nadam": (("optimizer=nadam",), ("optimizer.momentum_decay=0.1", "trainer.max_epochs=2")),
    "adafactor": (
        ("optimizer=adafactor",),
        (
            "optimizer.beta2_decay=-0.5",
            "optimizer.least_scale=0.1",
            "optimizer.clip_threshold=2",
            "trainer.max_epochs=2",
        ),
    ),
}
USUAL = ("adam", "momentum", "muon_sgd")  # the others are slow tests
ELSEWHERE = {
    "trainer.devices",
    "trainer.num_nodes",  # the same, where torchrun or srun starts the processes
    "model.drop_path",  # test_library_networks.py
    "trainer.graphs",  # test_graphs.py, as a CPU has none
    "trainer.swa_from",  # test_swa.py
    "test",
    "test_protocols",
    "test_precision",
    "test_calibration",
    "protocol.gaussian_noise.sigmas",
    "protocol.gaussian_noise.seed",
    "protocol.knn.k",  # the final reading follows protocols, those of gaussian_noise for all
    "protocol.knn.temperature",
    "protocol.linear_probe.l2",
    "protocol.linear_probe.max_iter",
    "loss.teacher_digest",  # test_distillation.py
    "loss.teacher_share",
    "loss.temperature",
    "callback.timer.duration",  # test_monitors.py
    "callback.timer.interval",
    "callbacks",  # test_outside.py, as imgrec's own change no result
}  # have tests of their own below


PRUNED = ("data.prune=0.4", "data.prune_after=0.5", "trainer.max_epochs=4", "augment=crop_flip", "model.dropout=0.3")


class CutError(Exception):
    """Ends a run under test at a step."""


def base_words(tiny: list[str], case: str) -> list[str]:
    words = [*CASES[case][0], "trainer.max_epochs=1"]
    taken = {key_of(word) for word in words}
    own = [word for word in tiny if key_of(word) not in taken]
    return [*own, *(word for word in words if not word.endswith("="))]


def resumed(run: Path, *words: str) -> list[str]:
    """The words of a run that goes on from `run` with these changes, which are allowed as the refusal says."""
    with pytest.raises(UsageError, match=r"or allow it with 'resume_override=\[.*\]'$") as refusal:
        launch.train([f"resume={run}", *words])
    named = str(refusal.value).partition("resume_override=[")[2].partition("]")[0]
    return [f"resume={run}", *words, f"resume_override=[{named}]"]


def in_force(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> dict[str, Any]:
    """What the run of these words has in force at its first step, where it is cut off."""
    found: dict[str, Any] = {}
    start = Saver.on_train_batch_start

    def look(self: Saver, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        start(self, trainer, module, batch, batch_idx)
        found.update(snapshot(trainer, module))
        raise CutError

    with monkeypatch.context() as patched:
        patched.setattr(Saver, "on_train_batch_start", look)
        with pytest.raises(CutError):
            launch.train(words)
    torch.use_deterministic_algorithms(False)
    return found


def snapshot(trainer: Any, module: Any) -> dict[str, Any]:
    """Settings, the batches of the second epoch, the rates and sizes of the whole training; nothing that has moved."""
    schedule, batches = module._schedule, trainer.train_dataloader.dataset
    images, targets = batches[1, 0]
    total = module._steps
    return {
        "groups": [
            {key: value for key, value in group.items() if key not in ("params", "lr", "step")}
            for group in trainer.optimizers[0].param_groups
        ],
        "rates": [scale(step) for scale in schedule.lr_lambdas for step in range(total)],
        "callbacks": {
            f"{type(each).__name__}.{name}": getattr(each, name)
            for each in trainer.callbacks
            for name in ("patience", "_decay", "_skips", "_share", "_after", "_seed", "_batches")
            if hasattr(each, name)
        },
        "trainer": [trainer.max_epochs, trainer.accumulate_grad_batches, trainer.gradient_clip_val, trainer.precision],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "runs": type(module._runs).__name__,
        "format": [str(module.memory_format), module.network.net.classes.weight.dtype],
        "loss": [repr(module.loss), plain(module.loss)],
        "sam": module._sam_rho,
        "class weights": None if module.class_weights_k is None else module.class_weights_k.tolist(),
        "network": {name: [type(each).__name__, plain(each)] for name, each in module.network.named_modules()},
        "images": images,
        "targets": targets,
        "batches": len(batches),
        "on_error": trainer.datamodule._data.on_error,
        "sides": [module._resize(images, step / total).shape[-1] for step in range(total)],
        "at": schedule.position / total,
        "rate": [group["lr"] / group["initial_lr"] for group in trainer.optimizers[0].param_groups],
        "random": torch.get_rng_state(),
        "pruned": trainer.datamodule.pruned,
    }


def plain(thing: Any) -> dict[str, Any]:
    """Its plain attributes."""
    return {key: value for key, value in vars(thing).items() if isinstance(value, bool | int | float | str | tuple)}


def assert_alike(one: Any, other: Any, where: str = "") -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_alike(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def check(monkeypatch: pytest.MonkeyPatch, base: Path, words: Sequence[str], changes: Sequence[str]) -> None:
    """Let the changes be made to the run of one epoch in `base`, which has these words."""
    keys = {key_of(change) for change in changes}
    straight = in_force(monkeypatch, [*(word for word in words if key_of(word) not in keys), *changes])
    going_on = in_force(monkeypatch, resumed(base, *changes))
    kept = torch.equal(going_on.pop("random"), state(base)["callbacks"]["Saver"]["random"][0]["torch"])
    assert kept == ("seed" not in keys)
    del straight["random"]
    epochs = going_on["trainer"][0]
    assert going_on.pop("at") == 1 / epochs
    assert straight.pop("at") == 0
    expected = going_on["rates"][len(going_on["rates"]) // len(going_on["groups"]) // epochs]
    assert going_on.pop("rate") == pytest.approx([expected] * len(going_on["groups"]))
    del straight["rate"]
    assert_alike(straight, going_on)


def first_run(tiny: list[str], case: str) -> tuple[Path, list[str]]:
    words = base_words(tiny, case)
    return launch.train([*words, "hydra.run.dir=base"]).folder, words


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] if case not in ("adam", "momentum", "muon_sgd") else [])
        for case in CASES
    ],
)
@pytest.mark.long
def test_changes_are_in_force_from_the_first_step_on(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    base, words = first_run(tiny, case)
    check(monkeypatch, base, words, CASES[case][1])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_each_change_is_in_force_alone(tiny: list[str], monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    needed = {
        "augment.policy_ops": ("augment.policy=randaugment",),
        "augment.policy_magnitude": ("augment.policy=randaugment",),
        "augment.crop_border": ("augment.crop_padding=1",),
        "augment.flip_rule": ("augment.flip=true",),
        "augment.mix_alpha": ("augment.mix=mixup",),
        "augment.mix_probability": ("augment.mix=mixup",),
        "augment.cutmix_alpha": ("augment.mix=mixup_cutmix",),
        "augment.mix_switch": ("augment.mix=mixup_cutmix",),
        "augment.sizes": ("augment.sizes_until=[0.25,0.75]",),
        "augment.sizes_until": ("augment.sizes=[5,6]",),
        "data.prune_after": ("data.prune=0.4",),
        "loss.smoothing": ("loss=label_smoothing",),
        "loss.gamma": ("loss=focal",),
        "loss.true_weight": ("loss=mse",),
        "loss.true_value": ("loss=mse",),
        "schedule.milestones": ("schedule=step",),
        "schedule.gamma": ("schedule=step",),
        "schedule.peak_at": ("schedule=one_cycle",),
        "schedule.start": ("schedule=one_cycle",),
        "schedule.final": ("schedule=one_cycle",) if case == "muon_sgd" else (),
    }
    base, words = first_run(tiny, case)
    longer = "trainer.max_epochs=4"
    for change in CASES[case][1]:
        more = [word for word in (longer, *needed.get(key_of(change), ())) if key_of(word) != key_of(change)]
        check(monkeypatch, base, words, [*more, change])


def test_every_key_that_may_change_is_changed_above() -> None:
    changed = {key_of(change) for _, changes in CASES.values() for change in changes}
    changed |= {f"{key}.name" for key in changed if "." not in key}  # a choice
    may = {key for key in changeable_keys() if change_of(key).verdict != REFUSED} - keys_outside_identity()
    assert may - changed == ELSEWHERE


def rates(folder: Path) -> list[float]:
    return [float(row["value"]) for row in read_curves(folder / "curves.csv") if row["metric"] == "lr"]


@pytest.mark.long
def test_the_rate_follows_the_share_of_the_training_when_the_batches_change(
    undisturbed: Callable[..., Path], workplace: Path
) -> None:
    base = undisturbed("trainer.max_epochs=2", "schedule=cosine")
    other = launch.train(resumed(base, "data.batch_size=16", "trainer.max_epochs=4"))
    steps = [8 + step for step in range(8)]  # of 16: 4 an epoch
    assert rates(other.folder) == pytest.approx([0.001 * (1 + math.cos(math.pi * step / 16)) / 2 for step in steps])
    assert other.record.progress["steps"] == 16 + 8


@pytest.mark.long
def test_the_patience_is_the_new_one(tiny: list[str], workplace: Path) -> None:
    """At this learning rate no epoch is better than the first."""
    base = launch.train([*tiny, "optimizer.lr=1e-12", "trainer.max_epochs=9", "trainer.early_stopping=1"])
    assert base.record.progress["epochs"] == 2
    more = launch.train(resumed(base.folder, "trainer.early_stopping=3"))
    assert more.record.progress["epochs"] == 4, "the second epoch, the third and the fourth are no better"
    assert more.record.config["trainer.early_stopping"] == 3


@pytest.mark.long
def test_images_that_were_left_out_too_early_by_now_come_back_until_it_is_time(
    undisturbed: Callable[..., Path], workplace: Path
) -> None:
    base = undisturbed(*PRUNED)
    assert state(base)["ImageData"]["subset"]["since"] == 2
    other = launch.train(resumed(base, "data.prune_after=0.8", "trainer.max_epochs=6"))
    assert state(other.folder)["ImageData"]["subset"]["since"] == 5


@pytest.fixture
def cut_in_the_middle(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Train a run with these words besides up to the middle of its second epoch, and give its folder."""

    def train(*words: str, epoch: int = 1) -> Path:
        end = Saver.on_train_batch_end

        def cut(self: Saver, trainer: Any, *rest: Any) -> None:
            end(self, trainer, *rest)
            if trainer.current_epoch == epoch and trainer.global_step == 8 * epoch + 4:
                raise CutError

        with monkeypatch.context() as patched:
            patched.setattr(Saver, "on_train_batch_end", cut)
            with pytest.raises(CutError):
                launch.train([*tiny, *words, "trainer.checkpoint_every=2", "hydra.run.dir=cut"])
        assert state(Path("cut"))["ImageData"]["batch"] == 4
        return Path("cut")

    return train


@pytest.mark.long
def test_what_cannot_be_placed_in_the_middle_of_an_epoch_is_refused(
    cut_in_the_middle: Callable[..., Path], tiny_images: Path, workplace: Path
) -> None:
    run = cut_in_the_middle("trainer.max_epochs=3")
    photos = workplace / "photos"
    shutil.copytree(tiny_images, photos)
    (photos / "row" / "00.png").unlink()
    before = tree(workplace)
    for change in ("data.batch_size=10", "seed=3", "trainer.accumulate=2", f"data.root={photos}"):
        with pytest.raises(UsageError, match=r"can only change where an epoch begins, and .* the middle of epoch 2, w"):
            launch.train([f"resume={run}", change, f"resume_override=[{key_of(change)}]"])
    assert tree(workplace) == before
    assert launch.train([f"resume={run}"]).record.status == "finished"


@pytest.mark.long
def test_images_are_not_taken_in_again_in_the_middle_of_an_epoch(
    cut_in_the_middle: Callable[..., Path], workplace: Path
) -> None:
    run = cut_in_the_middle(*PRUNED, epoch=2)
    before = tree(workplace)
    for change, said in (
        ("data.prune=0", r"data\.prune must stay 0\.4 until epoch 3 is over"),
        ("trainer.max_epochs=9", r"give data\.prune_after=0\.2222, with 'resume_override=\[data\.prune_after,"),
    ):
        with pytest.raises(UsageError, match=said):
            launch.train([f"resume={run}", change, f"resume_override=[{key_of(change)}]"])
    assert tree(workplace) == before
    words = [f"resume={run}", "trainer.max_epochs=5", "data.prune_after=0.2222"]
    longer = launch.train([*words, "resume_override=[data.prune_after,trainer.max_epochs]"])
    assert state(longer.folder)["ImageData"]["subset"]["since"] == 2


def test_a_network_normalised_for_other_classes_is_refused(finished: Path, tiny_images: Path, workplace: Path) -> None:
    photos = workplace / "photos"
    shutil.copytree(tiny_images, photos)
    (photos / "row").rename(photos / "square")
    words = [f"resume={finished}", "trainer.max_epochs=2", f"data.root={photos}"]
    with pytest.raises(
        UsageError, match=r"data\.root must hold the classes that .*, column, diagonal, row, got column"
    ):
        launch.train([*words, "resume_override=[trainer.max_epochs,data.root]"])


@pytest.mark.parametrize(
    "change",
    [
        "data.val_size=6",
        "data.test_size=6",
        "model.widths=[4,6]",
        "optimizer=sgd",
        "optimizer.decay_norm_and_bias=false",
    ],
)
def test_a_refused_change_offers_nothing_that_is_refused(finished: Path, workplace: Path, change: str) -> None:
    before = tree(workplace)
    for more in ((), ("resume_override=[data.val_size,data.test_size,model.widths,optimizer.name]",)):
        with pytest.raises(
            UsageError, match=r"cannot change .*; drop the change, or start a new run: imgrec train data=fo"
        ):
            launch.train([f"resume={finished}", change, "trainer.max_epochs=2", *more])
    assert tree(workplace) == before


@pytest.mark.long
def test_the_final_reading_follows_what_the_resumed_run_asks(
    cut_in_the_middle: Callable[..., Path], workplace: Path
) -> None:
    run = cut_in_the_middle("trainer.max_epochs=2")
    other = launch.train(resumed(run, "test_protocols=[tta_flip]", "test_precision=bf16", "test_calibration=true"))
    assert {
        (score.protocol, score.settings["precision"]) for score in other.record.scores if score.split == "test"
    } == {("tta_flip", "bf16")}
    noise = (
        "test_protocols=[gaussian_noise]",
        "protocol.gaussian_noise.sigmas=[0.5]",
        "protocol.gaussian_noise.seed=3",
    )
    noisy = launch.train(resumed(run, *noise))
    told = {(score.protocol, score.settings["seed"]) for score in noisy.record.scores if score.split == "test"}
    assert told == {("gaussian_noise:0.5", 3)}
    assert {"ece_calibrated", "nll"} & {score.metric for score in other.record.scores} or (
        "no temperature is fitted" in (other.folder / "train.log").read_text()
    )
    closed = launch.train(resumed(run, "test=false"))
    assert {score.split for score in closed.record.scores} == {"val"}


@pytest.mark.slow
def test_the_rate_follows_the_share_when_the_processes_change(tiny: list[str], imgrec: Callable[..., Any]) -> None:
    base = launch.train([*tiny, "trainer.max_epochs=2", "schedule=cosine"])
    words = [f"resume={base.folder}", "trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=4"]
    child = imgrec("train", *words, "resume_override=[trainer.devices,trainer.max_epochs]", "hydra.run.dir=two")
    assert child.wait() == 0, child.log.read_text()
    steps = [8 + step for step in range(8)]
    assert rates(Path("two")) == pytest.approx([0.001 * (1 + math.cos(math.pi * step / 16)) / 2 for step in steps])


def test_a_finished_run_is_done_over_from_its_name(finished: Path, workplace: Path) -> None:
    assert launch.train([f"resume={finished}"]).already
    again = launch.train([f"resume={finished}", "force=true"])
    assert not again.already
    assert again.folder != finished
    assert again.record.weights == runfolder.record_of(finished).weights


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["resume=run", "resume_override=[trainer.max_epoch]"],
            r"'trainer\.max_epoch'; did you mean trainer\.max_epochs",
        ),
        (["resume_override=[seed]"], r"the run of resume=, which is not given; add resume=RUN, or leave"),
    ],
)
def test_an_override_of_nothing_is_refused(finished: Path, tiny: list[str], words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        launch.train(words if "resume=run" in words else [*tiny, *words])
