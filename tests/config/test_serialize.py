"""Test that a configuration survives its conversion to plain containers and back."""

import json
from typing import Any

import pytest
import yaml

from imgrec.components.data.cifar10 import Cifar10
from imgrec.components.optimizer.sgd import Sgd
from imgrec.config import serialize
from imgrec.config.compose import compose
from imgrec.config.registry import components
from imgrec.config.root import GROUPS, Config
from imgrec.config.serialize import flat, from_flat, to_yaml
from imgrec.errors import UsageError


def default_sections() -> dict[str, Any]:
    names = {"data": "cifar10", "model": "cnn", "loss": "mse", "optimizer": "sgd", "schedule": "cosine"}
    sections = {axis: components(axis)[name]() for axis, name in names.items()}
    return {**sections, "augment": components("augment")["augment"](name="none"), "trainer": trainer(), **steering()}


def steering() -> dict[str, Any]:
    return {"launcher": components("launcher")["basic"](), "sweep": components("sweep")["grid"]()}


def trainer() -> Any:
    return components("trainer")["trainer"](name="auto")


def everything() -> list[Any]:
    """Every dataclass of every axis."""
    return [(axis, name) for axis in GROUPS for name in components(axis)]


@pytest.mark.parametrize(("axis", "name"), everything())
def test_every_choice_survives_json_and_comes_back_equal(axis: str, name: str) -> None:
    schema = components(axis)[name]
    of_name = {name: {"root": "/images"} for name in ("arrays", "folder", "huggingface")}
    of_name |= {name: {"architecture": "resnet18"} for name in ("timm", "torchvision")}
    of_name |= {"distillation": {"teacher": "/run", "teacher_digest": "0123456789abcdef"}}
    needed = of_name.get(name, {"name": "x"} if len(components(axis)) == 1 else {})
    sections = {**default_sections(), axis: schema(**needed)}
    if name == "schedule_free":
        sections["schedule"] = components("schedule")["constant"]()
    config = Config(**sections, seed=5, resume_override=["a", "b"])
    rows = json.loads(json.dumps(flat(config)))
    again = from_flat(rows)
    assert again == config
    assert type(getattr(again, axis)) is schema
    assert flat(again) == rows


def test_a_composed_recipe_comes_back_equal() -> None:
    config = compose(["experiment=demo", "model.widths=[8,16]", "schedule=step", "test_protocols=[tta_flip,clean]"])
    assert from_flat(flat(config)) == config


def test_flat_has_dotted_keys_and_plain_values() -> None:
    rows = flat(Config(**default_sections()))
    assert rows["data.name"] == "cifar10"
    assert rows["model.widths"] == [32, 64, 128]
    assert rows["seed"] == 0
    assert rows["experiment"] is None
    assert not any(isinstance(value, dict) for value in rows.values())


def test_yaml_is_a_block_an_axis() -> None:
    rows = yaml.safe_load(to_yaml(Config(**default_sections())))
    assert rows["optimizer"]["lr"] == 0.01
    assert rows["data"]["batch_size"] == 128
    assert rows["test_protocols"] == ["clean"]


def test_a_key_that_the_writer_did_not_know_takes_its_default() -> None:
    rows = flat(Config(**default_sections()))
    del rows["data.val_size"], rows["seed"], rows["trainer.accumulate"]
    config = from_flat(rows)
    assert isinstance(config.data, Cifar10)
    assert (config.data.val_size, config.seed, config.trainer.accumulate) == (5000, 0, 1)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("optimizer.rate", 1, "optimizer.rate is not a key"),
        ("nothing", 1, "nothing is not a key"),
        ("nothing.inside", 1, "nothing.inside is not a key"),
        ("optimizer._target_", "os.system", "optimizer._target_ is not a key"),
        ("_target_", "os.system", "_target_ is not a key"),
        ("data", {"name": "digits"}, "data must be stored as dotted keys (data.name, ...), got {'name': 'digits'}"),
        ("model.name", "vit", "model.name must be one of cnn, densenet_bc, "),
        ("optimizer.lr", "fast", "optimizer.lr: Value 'fast' of type 'str' could not be converted to Float"),
        ("optimizer.lr", 0, "optimizer.lr must be > 0 and finite, got 0.0"),
        ("seed", None, "seed: "),
        ("model.widths", "wide", "model.widths: "),
        ("model.widths", [8, "a"], "model.widths[1]: "),
    ],
)
def test_what_flat_never_wrote_is_refused(key: str, value: Any, sentence: str) -> None:
    rows = {**flat(Config(**default_sections())), key: value}
    with pytest.raises(UsageError) as refusal:
        from_flat(rows)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_name_is_refused() -> None:
    rows = flat(Config(**default_sections()))
    del rows["loss.name"]
    with pytest.raises(UsageError, match=r"loss\.name must be one of brier, .*, got 'None'"):
        from_flat(rows)


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "/a/${seed}/b", r"\${x}", r"\\${x}", "$HOME", "a=b,c", "a\\b"])
def test_text_that_looks_like_a_reference_stays_text(text: str) -> None:
    """A stored configuration is data: no value in it reads the environment or another key."""
    rows = {**flat(Config(**default_sections())), "data.root": text, "resume_override": [text]}
    config = from_flat(rows)
    assert isinstance(config.data, Cifar10)
    assert config.data.root == text
    assert config.resume_override == [text]


def test_from_flat_builds_the_named_class_even_under_another_option_s_values() -> None:
    rows = flat(compose(["optimizer=article_sgd"]))
    assert isinstance(from_flat(rows).optimizer, Sgd)


@pytest.mark.parametrize("value", [True, 3, 0.5, "0.5", "text", None, [1, 2], [0.5], ["a"], [], "???", "${seed}"])
def test_values_are_taken_as_they_are_only_where_omegaconf_would_not_convert_or_refuse_them(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = flat(compose(["data=digits"]))
    keys = ("seed", "test", "test_precision", "test_protocols", "optimizer.lr", "model.widths", "study", "loss.name")
    keys = (*keys, "loss.class_weights")  # may be of any type

    def outcome(key: str) -> Config | str:
        try:
            return from_flat({**rows, key: value})
        except UsageError as error:
            return str(error)

    found = {key: outcome(key) for key in keys}
    monkeypatch.setattr(serialize, "_fits", lambda schema, values: False)
    for key in keys:
        assert found[key] == outcome(key), key
        assert repr(found[key]) == repr(outcome(key)), key  # 1 == 1.0 == True


def test_a_configuration_shares_no_list_with_the_rows_it_came_from() -> None:
    rows = flat(compose(["data=digits"]))
    made = from_flat(rows)
    rows["test_protocols"].append("tta_flip")
    assert made.test_protocols == ["clean"]
