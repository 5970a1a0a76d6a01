"""Test that dataclasses and choices of conf/ match, and that every value out of range is refused by name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgrec.components.data.digits import Digits
from imgrec.components.data.folder import Folder
from imgrec.config import folders
from imgrec.config.compose import compose
from imgrec.config.fields import help_of
from imgrec.config.folders import conf_dir
from imgrec.config.registry import components
from imgrec.config.root import AXES, GROUPS, Config
from imgrec.config.schemas import choices, explanation, known_keys
from imgrec.config.serialize import flat

INF, NAN = float("inf"), float("nan")
NEEDED = {
    "arrays": ["data.root=/x.npz"],
    "distillation": ["loss.teacher=/run", "loss.teacher_digest=0123456789abcdef"],
    "folder": ["data.root=/images"],
    "huggingface": ["data.root=nobody/images"],
    "ray": ["launcher.num_gpus=1"],
    "schedule_free": ["schedule=constant"],
    "slurm": ["launcher.gpus_per_node=2", "launcher.array_parallelism=2"],
    "growing": ["model=resnet18"],
    "speed": ["model=whitened_cnn"],
    "speed96": ["model=whitened_cnn"],
    "timm": ["model.architecture=resnet18"],
    "torchvision": ["model.architecture=resnet18"],
}  # what a choice cannot do without
RECIPES = choices("experiment")


def contents(path: Path) -> dict[str, Any]:
    rows = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(rows, dict)
    return rows


ANY = ("loss", "optimizer", "schedule", "trainer", "launcher", "sweep")  # whose choices all go with each other
ALONE = [axis for axis in GROUPS if axis not in ANY]
TOGETHER = [
    {axis: choices(axis)[k % len(choices(axis))] for axis in ANY}
    for k in range(max(len(choices(axis)) for axis in ANY))
]


@pytest.mark.parametrize(
    "chosen",
    [*TOGETHER, *({axis: name} for axis in ALONE for name in choices(axis))],
    ids=lambda it: "-".join(it.values()),
)
def test_every_choice_composes_under_its_own_name(chosen: dict[str, str]) -> None:
    """Choices of several axes are composed together, as a composition takes longer than the rest of this test."""
    needed = [word for name in chosen.values() for word in NEEDED.get(name, [])]
    if (chosen.get("trainer"), chosen.get("launcher")) == ("ddp", "ray"):
        needed.append("launcher.num_gpus=2")
    config = compose([*(f"{axis}={name}" for axis, name in chosen.items()), *needed])
    for axis, name in chosen.items():
        section = getattr(config, axis)
        # an option like article_sgd is sgd with other values: the name says which implementation is built
        assert section.name == name or type(section) is components(axis)[section.name]


def test_every_component_is_a_choice_whose_explanation_is_a_sentence() -> None:
    for axis in GROUPS:
        if len(components(axis)) > 1:
            assert set(components(axis)) <= set(choices(axis))
        for name in choices(axis):
            assert explanation(axis, name).endswith((".", "?", ")")), name


@pytest.mark.parametrize("axis", GROUPS)
def test_every_choice_names_its_schema_sets_only_its_keys_and_says_what_it_is(axis: str) -> None:
    for path in sorted((conf_dir() / axis).glob("*.yaml")):
        rows = contents(path)
        (schema_name,) = rows.pop("defaults")
        schema = components(axis)[schema_name.removesuffix("_schema")]
        assert schema_name.endswith("_schema")
        assert set(rows) <= {field.name for field in dataclasses.fields(schema)}
        assert path.read_text("utf-8").startswith("# ")


def test_every_key_has_a_line_of_explanation_and_a_name_of_its_class() -> None:
    for axis, named in ((axis, components(axis)) for axis in GROUPS):
        for name, schema in named.items():
            own = [field for field in dataclasses.fields(schema) if field.name != "name"]
            assert all(help_of(field).strip() and "\n" not in help_of(field) for field in own)
            assert schema.__doc__
            if len(named) > 1:
                assert next(f for f in dataclasses.fields(schema) if f.name == "name").default == name, axis
    roots = [field for field in dataclasses.fields(Config) if field.name not in GROUPS]
    assert all(help_of(field).strip() for field in roots)


def test_the_axes_of_the_root_are_the_axes_with_schemas_and_folders() -> None:
    dataclass_axes = [field.name for field in dataclasses.fields(Config) if dataclasses.is_dataclass(field.type)]
    assert dataclass_axes == list(GROUPS)
    assert all(components(axis) for axis in GROUPS)
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert folders <= {*GROUPS, "experiment", "study"}


def test_known_keys_are_those_of_all_choices_each_once() -> None:
    found = list(known_keys())
    assert len(found) == len(set(found))
    for overrides in ([], ["model=resnet18"], ["optimizer=muon"], ["schedule=one_cycle"]):
        keys = {key for key in flat(compose(overrides)) if not key.endswith(".name")}
        assert keys <= set(found)
    assert {"optimizer.ns_steps", "data.on_error", "seed"} <= set(found)
    assert "model.name" not in found


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_itself_its_question_and_its_command_and_holds_differences_only(recipe: str) -> None:
    path = conf_dir() / "experiment" / f"{recipe}.yaml"
    lines = path.read_text("utf-8").splitlines()
    rows = contents(path)
    assert lines[0] == "# @package _global_"
    assert any("?" in line for line in lines if line.startswith("#"))
    assert any(f"imgrec train experiment={recipe}" in line for line in lines if line.startswith("#"))
    assert rows.pop("experiment") == recipe
    for default in rows.pop("defaults"):
        ((key, name),) = default.items()
        axis = key.removeprefix("override /")
        assert key.startswith("override /")
        assert name in choices(axis)
    # a recipe sets no key that only one choice has: any axis can then be overridden
    shared = {
        axis: set.intersection(*({f.name for f in dataclasses.fields(schema)} for schema in components(axis).values()))
        for axis in AXES
    }
    for axis, values in rows.items():
        if axis in AXES:
            assert set(values) <= shared[axis] - {"name", "lr"}
        else:
            assert axis in {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.long
def test_a_recipe_composes_with_any_axis_overridden(recipe: str) -> None:
    composed = compose([f"experiment={recipe}"])
    assert composed.experiment == recipe
    others = {"data": "folder", "augment": "cutout", "model": "resnet50", "loss": "mse"}
    others |= {"optimizer": "muon", "schedule": "one_cycle", "trainer": "ddp"}
    assert set(others) == set(AXES)
    for half in (AXES[::2], AXES[1::2]):
        words = [f"{axis}={others[axis]}" for axis in half]
        changed = compose([f"experiment={recipe}", *words, *(NEEDED["folder"] if "data" in half else [])])
        for axis in AXES:
            if axis in half:
                assert getattr(changed, axis).name == others[axis]
            else:
                assert getattr(changed, axis) == getattr(composed, axis)


def test_the_conf_folder_is_found_from_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert (conf_dir() / "config.yaml").is_file()
    assert compose(["experiment=demo"]).experiment == "demo"


def test_a_package_without_its_conf_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(folders, "__file__", str(tmp_path / "src" / "imgrec" / "config" / "folders.py"))
    with pytest.raises(ValueError, match=r"conf/config.yaml must lie in .*imgrec or beside src/, found neither"):
        conf_dir()


@pytest.mark.parametrize(
    ("chosen", "values", "sentence"),
    [
        ("data=cifar10", {"batch_size": 0}, "data.batch_size must be >= 1 and finite, got 0"),
        (
            "data=cifar10",
            {"val_size": 50000},
            "data.val_size must lie in [0, 50000), got 50000; CIFAR-10 has 50000 training images; use 5000, or 0",
        ),
        (
            "data=cifar10",
            {"val_size": 12},
            "data.val_size must be a multiple of 10 for CIFAR-10 (a class-balanced split), got 12",
        ),
        ("model=resnet20", {"drop_path": 0.1, "freeze": "backbone"}, "model.freeze=backbone trains none; leave one of"),
        (
            "model=resnet18",
            {"drop_path": 0.1, "freeze_backbone": True, "pretrained": True, "stem": "imagenet"},
            "model.freeze_backbone=true trains none; leave one of the two out",
        ),
        ("data=digits", {"folds": 1}, "data.folds must be 0, or at least 2, got 1; use 5"),
        ("data=digits", {"fold": 2}, "data.fold=2 needs data.folds; add data.folds=5"),
        (
            "data=digits",
            {"folds": 5, "fold": 5},
            "data.fold must be < 5 (data.folds; the first is 0), got 5; use one of 0 to 4",
        ),
        (
            "data=cifar10",
            {"folds": 5, "val_size": 2500},
            "data.folds=5 makes the validation split, and data.val_size=2500 another one; give one of the two alone",
        ),
        ("data=digits", {"val_size": 9}, "data.val_size must be 0 or at least 10 (one image a class), got 9"),
        ("data=digits", {"val_size": 1437}, "data.val_size must lie in [0, 1437), got 1437"),
        (
            "data=folder",
            {"root": "x", "val_size": 2.5},
            "data.val_size must be a share below 1 or a whole number of images, got 2.5",
        ),
        ("data=folder", {"root": "x", "test_size": -1}, "data.test_size must be >= 0 and finite, got -1"),
        ("data=folder", {"root": "x", "on_error": "pass"}, "data.on_error must be one of raise, skip, got 'pass'"),
        ("data=folder", {"root": "x", "image_size": 4}, "data.image_size must lie in [8, 4096], got 4"),
        ("model=cnn", {"widths": []}, "model.widths must name at least one stage, got []; the default is [32,64,128]"),
        ("model=cnn", {"widths": [8, 0]}, "model.widths must be >= 1 and finite, got 0"),
        ("model=cnn", {"depth": 0}, "model.depth must be >= 1 and finite, got 0"),
        ("model=cnn", {"hidden": 0}, "model.hidden must be >= 1 and finite, got 0"),
        ("model=cnn", {"activation": "rellu"}, "got 'rellu'; did you mean relu?"),
        ("model=cnn", {"dropout": 1}, "model.dropout must lie in [0, 1), got 1"),
        ("model=whitened_cnn", {"widths": []}, "model.widths must name at least one stage, got []; the default is"),
        ("model=whitened_cnn", {"widths": [0]}, "model.widths must be >= 1 and finite, got 0"),
        ("model=whitened_cnn", {"depth": 0}, "model.depth must be >= 1 and finite, got 0"),
        (
            "model=whitened_cnn",
            {"depth": 1, "residual": True},
            "model.depth must be >= 2 and finite, got 1; model.residual=true needs a convolution to go around",
        ),
        ("model=whitened_cnn", {"activation": "glue"}, "got 'glue'"),
        ("model=whitened_cnn", {"whiten_kernel": 0}, "model.whiten_kernel must be >= 1 and finite, got 0"),
        ("model=whitened_cnn", {"norm_momentum": 0}, "model.norm_momentum must lie in (0, 1], got 0"),
        ("model=whitened_cnn", {"norm_momentum": 2}, "model.norm_momentum must lie in (0, 1], got 2"),
        ("model=resnet18", {"stem": "tiny"}, "model.stem must be one of cifar, imagenet, got 'tiny'"),
        (
            "model=resnet18",
            {"pretrained": True},
            "model.pretrained=true needs model.stem=imagenet (the weights have a 7x7 stem), got 'cifar'",
        ),
        ("loss=label_smoothing", {"smoothing": 1}, "loss.smoothing must lie in [0, 1), got 1"),
        ("loss=mse", {"true_weight": 0}, "loss.true_weight must be > 0 and finite, got 0"),
        ("loss=mse", {"true_value": 0}, "loss.true_value must be > 0 and finite, got 0"),
        ("loss=focal", {"gamma": -1}, "loss.gamma must be >= 0 and finite, got -1"),
        ("loss=hinge", {"margin": 0}, "loss.margin must be > 0 and finite, got 0"),
        ("optimizer=momentum", {"lr_scale": 0}, "optimizer.lr_scale must be > 0 and finite, got 0"),
        ("optimizer=momentum", {"momentum": 1}, "optimizer.momentum must lie in [0, 1), got 1"),
        (
            "optimizer=momentum",
            {"nesterov": True, "momentum": 0},
            "optimizer.momentum must be > 0 and finite, got 0; or set optimizer.nesterov=false",
        ),
        ("optimizer=adam", {"beta1": 1}, "optimizer.beta1 must lie in [0, 1), got 1"),
        ("optimizer=adam", {"beta2": -1}, "optimizer.beta2 must lie in [0, 1), got -1"),
        ("optimizer=adam", {"eps": 0}, "optimizer.eps must be > 0 and finite, got 0"),
        ("optimizer=adagrad", {"eps": 0}, "optimizer.eps must be > 0 and finite, got 0"),
        ("optimizer=rmsprop", {"alpha": 1}, "optimizer.alpha must lie in [0, 1), got 1"),
        ("optimizer=rmsprop", {"momentum": 1}, "optimizer.momentum must lie in [0, 1), got 1"),
        ("optimizer=rmsprop", {"eps": 0}, "optimizer.eps must be > 0 and finite, got 0"),
        ("optimizer=muon", {"momentum": 1}, "optimizer.momentum must lie in [0, 1), got 1"),
        ("optimizer=muon", {"ns_steps": 0}, "optimizer.ns_steps must be >= 1 and finite, got 0"),
        ("optimizer=muon", {"adamw_lr": 0}, "optimizer.adamw_lr must be > 0 and finite, got 0"),
        ("optimizer=muon", {"adamw_beta1": 1}, "optimizer.adamw_beta1 must lie in [0, 1), got 1"),
        ("optimizer=muon", {"adamw_beta2": 1}, "optimizer.adamw_beta2 must lie in [0, 1), got 1"),
        ("optimizer=muon", {"adamw_eps": 0}, "optimizer.adamw_eps must be > 0 and finite, got 0"),
        (
            "optimizer=muon",
            {"constant_norm": True, "weight_decay": 0.1},
            "optimizer.weight_decay must be 0 with optimizer.constant_norm=true, which undoes it, got 0.1",
        ),
        ("optimizer=muon_sgd", {"momentum": 1}, "optimizer.momentum must lie in [0, 1), got 1"),
        ("optimizer=muon_sgd", {"ns_steps": 0}, "optimizer.ns_steps must be >= 1 and finite, got 0"),
        ("optimizer=muon_sgd", {"bias_lr": 0}, "optimizer.bias_lr must be > 0 and finite, got 0"),
        ("optimizer=muon_sgd", {"head_lr": 0}, "optimizer.head_lr must be > 0 and finite, got 0"),
        (
            "optimizer=muon_sgd",
            {"sgd_momentum": 0},
            "optimizer.sgd_momentum must lie in (0, 1), got 0; SGD looks ahead along it",
        ),
        ("schedule=constant", {"warmup": 1}, "schedule.warmup must lie in [0, 1), got 1"),
        ("schedule=step", {"milestones": [0.5, 0.2]}, "schedule.milestones must ascend, got [0.5, 0.2]"),
        ("schedule=step", {"milestones": [2]}, "schedule.milestones must lie in [0, 1], got 2"),
        ("schedule=step", {"gamma": 2}, "schedule.gamma must lie in [0, 1], got 2"),
        ("schedule=cosine", {"final": 2}, "schedule.final must lie in [0, 1], got 2"),
        ("schedule=linear", {"final": -1}, "schedule.final must lie in [0, 1], got -1"),
        ("schedule=one_cycle", {"peak_at": 0}, "schedule.peak_at must lie in (0, 1], got 0"),
        ("schedule=one_cycle", {"peak_at": 2}, "schedule.peak_at must lie in (0, 1], got 2"),
        ("schedule=one_cycle", {"start": 2}, "schedule.start must lie in [0, 1], got 2"),
        ("schedule=one_cycle", {"final": 2}, "schedule.final must lie in [0, 1], got 2"),
        (
            "schedule=one_cycle",
            {"warmup": 0.1},
            "schedule.warmup must be 0 with one_cycle, which warms up by itself, got 0.1",
        ),
        (
            "augment=augment",
            {"policy": "rand"},
            "augment.policy must be one of none, trivialaugment, randaugment, augmix, got 'rand'",
        ),
        ("augment=augment", {"policy_ops": 0}, "augment.policy_ops must be >= 1 and finite, got 0"),
        ("augment=augment", {"policy_magnitude": 31}, "augment.policy_magnitude must lie in [0, 30], got 31"),
        ("augment=augment", {"crop_padding": -1}, "augment.crop_padding must be >= 0 and finite, got -1"),
        (
            "augment=augment",
            {"crop_border": "grey"},
            "augment.crop_border must be one of black, reflect, got 'grey'",
        ),
        (
            "augment=augment",
            {"flip": True, "flip_rule": "both"},
            "augment.flip_rule must be one of random, alternating, got 'both'",
        ),
        (
            "augment=augment",
            {"crop_border": "reflect"},
            "augment.crop_border=reflect has no effect without augment.crop_padding; add that, or drop it",
        ),
        (
            "augment=augment",
            {"flip_rule": "alternating"},
            "augment.flip_rule=alternating has no effect without augment.flip=true; add that, or drop it",
        ),
        ("augment=augment", {"brightness": 2}, "augment.brightness must lie in [0, 1], got 2"),
        ("augment=augment", {"contrast": -1}, "augment.contrast must lie in [0, 1], got -1"),
        ("augment=augment", {"cutout_size": -1}, "augment.cutout_size must be >= 0 and finite, got -1"),
        (
            "augment=augment",
            {"mix": "mixip"},
            "augment.mix must be one of none, mixup, cutmix, mixup_cutmix, got 'mixip'; did you mean mixup?",
        ),
        (
            "augment=augment",
            {"sizes": [16, 24], "sizes_until": [0.5]},
            "augment.sizes_until must say for each of augment.sizes where it ends, got [0.5] for [16, 24]",
        ),
        ("augment=augment", {"sizes": [0], "sizes_until": [0.5]}, "augment.sizes must be >= 1 and finite, got 0"),
        (
            "augment=augment",
            {"sizes": [8], "sizes_until": [1]},
            "augment.sizes_until must lie in [0, 1), got 1; the last steps are at full size",
        ),
        ("augment=augment", {"sizes": [8], "sizes_until": [0]}, "augment.sizes_until must be > 0 and finite, got 0"),
        (
            "augment=augment",
            {"sizes": [8, 16], "sizes_until": [0.4, 0.4]},
            "augment.sizes_until must ascend from stage to stage, got [0.4, 0.4]",
        ),
        (
            "augment=augment",
            {"sizes": [16, 8], "sizes_until": [0.4, 0.5]},
            "augment.sizes must ascend from stage to stage, got [16, 8]",
        ),
        ("augment=augment", {"mix_alpha": 0}, "augment.mix_alpha must be > 0 and finite, got 0"),
        (
            "augment=augment",
            {"mix": "mixup", "mix_probability": 0},
            "augment.mix_probability must lie in (0, 1], got 0; augment.mix=none blends no image",
        ),
        (
            "augment=augment",
            {"mix": "mixup", "mix_probability": 1.5},
            "augment.mix_probability must lie in (0, 1], got 1.5",
        ),
        ("trainer=trainer", {"max_epochs": 0}, "trainer.max_epochs must lie in [1, 1000000], got 0"),
        ("trainer=trainer", {"accelerator": "tpu"}, "trainer.accelerator must be one of auto, cpu, gpu, got 'tpu'"),
        ("trainer=trainer", {"devices": 0}, "trainer.devices must be >= 1 and finite, got 0"),
        (
            "trainer=trainer",
            {"devices": 4},
            "trainer.devices=4 needs trainer.strategy=ddp; choose trainer=ddp, or trainer.devices=1",
        ),
        ("trainer=trainer", {"strategy": "fsdp"}, "trainer.strategy must be one of auto, ddp, got 'fsdp'"),
        ("trainer=trainer", {"precision": "16"}, "trainer.precision must be one of 32, bf16-mixed, 16-mixed, got '16'"),
        (
            "trainer=trainer",
            {"deterministic": "maybe"},
            "trainer.deterministic must be one of true, false, auto, got 'maybe'",
        ),
        ("trainer=trainer", {"accumulate": 0}, "trainer.accumulate must be >= 1 and finite, got 0"),
        ("trainer=trainer", {"gradient_clip": -1}, "trainer.gradient_clip must be >= 0 and finite, got -1"),
        ("trainer=trainer", {"ema_decay": 1}, "trainer.ema_decay must lie in [0, 1), got 1"),
        ("trainer=trainer", {"early_stopping": -1}, "trainer.early_stopping must be >= 0 and finite, got -1"),
        ("trainer=trainer", {"log_every": 0}, "trainer.log_every must be > 0 and finite, got 0"),
        ("trainer=trainer", {"checkpoint_every": -1}, "trainer.checkpoint_every must be >= 0 and finite, got -1"),
        (
            "trainer=trainer",
            {"progress": "loud"},
            "trainer.progress must be one of auto, rich, plain, none, got 'loud'",
        ),
        ("trainer=trainer", {"threads": -1}, "trainer.threads must lie in [0, 1024], got -1; 0 lets PyTorch choose"),
        ("data=cifar10", {"eval_batch_size": 0}, "data.eval_batch_size must be >= 1 and finite, got 0"),
        (
            "data=cifar10",
            {"num_workers": -1},
            "data.num_workers must lie in [0, 256], got -1; one or two a core are enough",
        ),
        (
            "data=digits",
            {"resident": "gpu"},
            "data.resident must be one of true, false, auto, got 'gpu'",
        ),
        (
            "data=folder",
            {"root": "x", "resident": "true"},
            "data.resident must be auto or false for a folder, whose images are read from disk batch by batch, got"
            " 'true'; leave it out",
        ),
        ("optimizer=sgd", {"lr": NAN}, "optimizer.lr must be > 0 and finite, got nan"),
        ("optimizer=sgd", {"weight_decay": INF}, "optimizer.weight_decay must be >= 0 and finite, got inf"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused_with_key_rule_and_value(
    chosen: str, values: dict[str, Any], sentence: str
) -> None:
    axis, _, name = chosen.partition("=")
    with pytest.raises(ValueError, match=r"\w") as refusal:
        components(axis)[name](**values)
    assert sentence in str(refusal.value)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    assert Digits(val_size=0).val_size == 0
    assert Digits(val_size=1436).val_size == 1436
    assert Digits(val_size=0, folds=5).has_validation, "a recipe may have none, and folds make some"
    coarse = components("data")["cifar100"](root="/nowhere", labels="coarse", folds=3, fold=2)
    assert coarse.counts() == (33334, 16666), "without the files"
    assert Digits(resident="True").resident == "true"
    assert Folder(root="x", val_size=25.0, test_size=0.0).val_size == 25
    components("schedule")["step"](milestones=[0.0, 1.0], gamma=0.0)
    components("schedule")["one_cycle"](peak_at=1.0)
    components("augment")["augment"](name="x", policy="randaugment", policy_magnitude=30)
    components("trainer")["trainer"](name="x", devices=3, strategy="ddp")
