"""Test a run's id and its name."""

import dataclasses
import hashlib
import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from imgrec.components.data.folder import Folder
from imgrec.components.optimizer.adam import Adam
from imgrec.config.compose import compose
from imgrec.config.fields import is_identity, setting
from imgrec.config.identity import LONGEST_NAME, SHORT, essence, run_id, run_name
from imgrec.config.registry import components
from imgrec.config.root import SECTIONS, Config

DATA = "f" * 64


def made(**changes: Any) -> Config:
    sections: dict[str, Any] = {
        "data": components("data")["digits"](),
        "augment": components("augment")["augment"](name="none"),
        "model": components("model")["cnn"](),
        "loss": components("loss")["cross_entropy"](),
        "optimizer": components("optimizer")["adam"](),
        "schedule": components("schedule")["constant"](),
        "trainer": components("trainer")["trainer"](name="auto"),
        "launcher": components("launcher")["basic"](),
        "sweep": components("sweep")["grid"](),
    }
    return Config(**{**sections, **changes})


NAMES = {
    "data.name": "digits",
    "augment.name": "none",
    "model.name": "cnn",
    "loss.name": "cross_entropy",
    "optimizer.name": "adam",
    "schedule.name": "constant",
}


def test_the_essence_is_the_names_and_what_differs_from_the_defaults() -> None:
    assert essence(made()) == NAMES
    changed = made(seed=3, test=False, optimizer=components("optimizer")["adam"](lr=0.5))
    assert essence(changed) == {**NAMES, "optimizer.lr": 0.5, "seed": 3, "test": False}


def test_the_id_is_the_sha256_of_essence_and_data_as_canonical_json() -> None:
    """The expected text is written out, since every later version must compute the same."""
    text = (
        '{"config":{"augment.name":"none","data.name":"digits","loss.name":"cross_entropy","model.name":"cnn",'
        '"optimizer.name":"adam","schedule.name":"constant","seed":7},"data":"' + DATA + '"}'
    )
    assert run_id(made(seed=7), DATA) == hashlib.sha256(text.encode()).hexdigest()


def test_ids_of_published_runs_never_change() -> None:
    """The numbers are fixed. If this fails, every existing run would count as a new one."""
    sgd = ["optimizer=sgd", "trainer.max_epochs=12", "data.batch_size=64", "seed=1"]
    adam = [
        "data=digits",
        "model.widths=[8,16]",
        "optimizer=adam",
        "optimizer.lr=0.002",
        "schedule=one_cycle",
        "test=false",
    ]
    assert run_id(compose(sgd), DATA) == "d988f4e235285c04682ee2ec84a098d92f2db9bb3ac472be1fb48c647a4df8ed"
    assert run_id(compose(adam), DATA) == "df18f8e3c580c714450f0f46829abca489bb5c2aeeceaa26cee33c5bbbb82fea"


def test_another_choice_value_seed_or_data_is_another_run() -> None:
    variants = [
        made(),
        made(seed=1),
        made(test=False),
        made(test_protocols=["tta_flip"]),
        made(augment=components("augment")["augment"](name="none", flip=True)),
        made(augment=components("augment")["augment"](name="flip", flip=True)),
        made(model=components("model")["cnn"](widths=[32, 64])),
        made(model=components("model")["resnet18"]()),
        made(loss=components("loss")["brier"]()),
        made(optimizer=components("optimizer")["adamw"](weight_decay=0.0)),
        made(trainer=components("trainer")["trainer"](name="auto", max_epochs=11)),
        made(trainer=components("trainer")["trainer"](name="auto", precision="bf16-mixed")),
        made(data=components("data")["digits"](batch_size=129)),
    ]
    ids = [run_id(config, DATA) for config in variants] + [run_id(made(), "0" * 64)]
    assert len(set(ids)) == len(ids)


def other_value(value: Any) -> Any:
    """A value that a field of this type may hold, and that is not its default."""
    match value:
        case bool():
            return not value
        case None:
            return "other"
        case int() | float():
            return value + 1
        case []:
            return ["other"]
        case ["tensorboard"]:
            return []
    return {"auto": "cpu", "~/.cache/imgrec": "/other"}.get(value, "other")


def test_where_and_how_a_run_is_carried_out_leaves_its_id_alone() -> None:
    """Each key outside of the identity is changed by itself, and the name of the trainer too."""
    plain = run_id(made(), DATA)
    kept = []
    for field in dataclasses.fields(Config):
        if field.name not in SECTIONS and not is_identity(field):
            kept.append(field.name)
            value = "warn" if field.name == "code" else other_value(getattr(made(), field.name))
            assert run_id(made(**{field.name: value}), DATA) == plain, field.name
    for axis, name in (("data", "cifar10"), ("data", "folder"), ("trainer", "trainer")):
        needed = {"root": "/x"} if name == "folder" else {"name": "auto"} if axis == "trainer" else {}
        section = components(axis)[name](**needed)
        before = run_id(made(**{axis: section}), DATA)
        for field in dataclasses.fields(section):
            if field.name != "name" and not is_identity(field):
                kept.append(f"{axis}.{field.name}")
                options = {"strategy": "ddp", "progress": "none", "resident": "false", "profiler": "simple"}
                value = options.get(field.name, other_value(getattr(section, field.name)))
                changed = dataclasses.replace(section, **{field.name: value})
                assert getattr(changed, field.name) != getattr(section, field.name)
                assert run_id(made(**{axis: changed}), DATA) == before, field.name
    renamed = dataclasses.replace(made().trainer, name="cpu")
    assert run_id(made(trainer=renamed), DATA) == plain
    assert {
        "experiment",
        "study",
        "resume",
        "resume_override",
        "force",
        "data.root",
        "data.num_workers",
        "data.resident",
        "trainer.accelerator",
        "trainer.tensorboard",
    } <= set(kept)


def test_a_new_option_with_a_default_keeps_every_id() -> None:
    @dataclass(kw_only=True)
    class LaterAdam(Adam):
        amsgrad: bool = setting(False, "an option that came later")

    assert run_id(made(optimizer=LaterAdam()), DATA) == run_id(made(), DATA)
    assert run_id(made(optimizer=LaterAdam(amsgrad=True)), DATA) != run_id(made(), DATA)


def test_the_same_command_has_the_same_id_whatever_the_order() -> None:
    one = compose(["data=digits", "optimizer.lr=0.5", "seed=2", "optimizer=momentum"])
    two = compose(["seed=2", "optimizer.lr=5e-1", "data=digits", "optimizer=momentum"])
    assert run_id(one, DATA) == run_id(two, DATA)


def test_a_name_tells_the_overrides_the_seed_and_the_id() -> None:
    own = run_id(made(), DATA)
    overrides = ["optimizer=adam", "loss=mse", "optimizer.lr=0.1", "seed=1"]
    assert run_name(made(seed=1), overrides, own) == f"optimizer-adam_loss-mse_lr-0.1_seed-1-{own[:SHORT]}"
    assert run_name(made(), [], own) == f"seed-0-{own[:SHORT]}"


def test_what_says_only_where_and_how_stays_out_of_a_name() -> None:
    words = [
        "experiment=demo",
        "study=wide",
        "resume=/runs/a",
        "resume_override=[seed]",
        "force=true",
        "code=warn",
        "data.root=/my data",
        "data.num_workers=2",
        "trainer=cpu",
        "trainer.threads=1",
        "hydra.run.dir=/x",
        "+hydra.verbose=true",
    ]
    assert run_name(made(), words, "0" * 64) == "seed-0-00000000"
    assert run_name(made(), ["trainer.max_epochs=3"], "0" * 64) == "max-epochs-3_seed-0-00000000"


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("photos", "root-photos"),
        ("/data/photos/", "root-data-photos"),
        ("/home/me/flowers/images", "root-flowers-images"),
        ("~/my photos", "root-my-photos"),
        ("./a=b,c", "root-a-b-c"),
        ("/日本/写真", "root-x"),
    ],
)
def test_a_name_tells_a_folder_of_images_by_the_end_of_its_root(root: str, name: str) -> None:
    config = made(data=Folder(root=root))
    words = ["data=folder", f"data.root='{root}'", "loss=mse"]
    assert run_name(config, words, "0" * 64) == f"data-folder_{name}_loss-mse_seed-0-00000000"
    assert run_id(config, DATA) == run_id(made(data=Folder(root="elsewhere")), DATA)


def test_a_large_number_does_not_read_as_a_small_one_in_a_name() -> None:
    assert run_name(made(), ["optimizer.lr_scale=1e+30"], "0" * 64) == "lr-scale-1e30_seed-0-00000000"
    assert run_name(made(), ["optimizer.lr_scale=1e-30"], "0" * 64) == "lr-scale-1e-30_seed-0-00000000"


NASTY = [
    ["model.widths=[8,16]"],
    ["data.batch_size='64'"],
    ["+x={a:1,b:${seed}}"],
    ["optimizer.lr=1e-3", "schedule.final=-0.5"],
    ["loss=--help"],
    ["loss=../../etc/passwd"],
    ["loss=a b;rm -rf $HOME `id` \"'\n\t*?[]{}~#|&<>"],
    ["loss=Straße/日本語"],
    ["~schedule"],
    ["loss="],
    ["data.val_size=" + "9" * 500],
    [f"model.widths=[{','.join(['128'] * 100)}]", "optimizer=adam"],
]


@pytest.mark.parametrize("overrides", NASTY, ids=range(len(NASTY)))
def test_a_name_survives_shells_file_systems_and_hydra_s_grammar(overrides: list[str]) -> None:
    name = run_name(made(), overrides, "0123456789abcdef" * 4)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*-01234567", name)
    assert len(name) <= LONGEST_NAME + 1 + SHORT < 255
    assert shlex.quote(name) == name
    for text in (f"hydra.run.dir=outputs/default/{name}", f"hydra.run.dir='outputs/default/{name}'"):
        assert OverridesParser.create().parse_override(text).value() == f"outputs/default/{name}"


def test_a_shell_hands_a_name_over_as_it_is() -> None:
    name = run_name(made(), ["loss=a b;rm $HOME"], "0" * 64)
    done = subprocess.run(["sh", "-c", f"printf %s {name}"], capture_output=True, text=True, check=True)
    assert done.stdout == name


def test_long_overrides_that_read_the_same_still_differ_by_the_id() -> None:
    long = f"model.widths=[{','.join(['128'] * 100)}]"
    first, second = made(seed=1), made(seed=2)
    names = {run_name(config, [long], run_id(config, DATA)) for config in (first, second)}
    assert len(names) == 2


def test_the_canonical_form_has_no_room_for_two_configurations_with_one_text() -> None:
    """Every value of the essence is JSON that reads back as an equal value."""
    rows = essence(made(model=components("model")["cnn"](widths=[1, 2], dropout=0.1), test_protocols=["tta_flip"]))
    assert json.loads(json.dumps(rows)) == rows


@pytest.mark.parametrize(
    ("idle", "needs"),
    [
        ("data.noise_kind=pairs", "data.label_noise=0.2"),
        ("data.noise_seed=3", "data.label_noise=0.2"),
        ("data.subset_seed=3", "data.subset=0.5"),
        ("data.subset_seed=3", "data.imbalance=0.5"),
    ],
)
def test_a_setting_without_effect_makes_no_other_run(idle: str, needs: str) -> None:
    def made(*words: str) -> str:
        return run_id(compose(["data=digits", *words]), "f")

    assert made(idle) == made()
    assert made(idle, needs) != made(needs)
