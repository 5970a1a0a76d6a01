"""What a study declares as primary: its form, and that it is no part of what a run is."""

import pytest

from imgrec.config.compose import compose
from imgrec.config.identity import run_id
from imgrec.config.primary import parse
from imgrec.errors import UsageError


def test_a_contrast_names_a_score_its_place_and_both_sides() -> None:
    found = parse("top1 at last: optimizer=adam loss=mse vs optimizer=sgd loss=brier")
    assert (found.metric, found.at) == ("top1", "last")
    assert (found.ours, found.theirs) == (
        {"optimizer": "adam", "loss": "mse"},
        {"optimizer": "sgd", "loss": "brier"},
    )


def test_a_score_can_be_declared_alone() -> None:
    found = parse("ece_debiased")
    assert (found.metric, found.at, found.ours, found.theirs) == ("ece_debiased", None, {}, {})


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("", "must be METRIC [at best|last][: KEY=VALUE vs KEY=VALUE]"),
        ("top1: optimizer=adam", "must be METRIC [at best|last][: KEY=VALUE vs KEY=VALUE]"),
        ("top1: optimizer vs optimizer=sgd", "must have sides of KEY=VALUE, each key once"),
        ("top1: seed=1 seed=2 vs seed=3", "must have sides of KEY=VALUE, each key once"),
        ("top1: optimizer=adam vs loss=mse", "must give both sides other values of the same keys"),
        ("top1: optimizer=adam vs optimizer=adam", "must give both sides other values of the same keys"),
    ],
)
def test_words_of_another_form_are_refused_with_an_example_that_works(words: str, rule: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(words)
    said = str(refused.value)
    assert said.startswith(f"primary {rule}, got {words!r}; as ")
    assert parse(said.rpartition("; as ")[2].strip("'")).metric == "top1"


def test_another_place_is_refused() -> None:
    with pytest.raises(UsageError, match="primary's place must be one of best, last, got 'lats'; did you mean last"):
        parse("top1 at lats: optimizer=adam vs optimizer=sgd")


def test_a_command_with_a_wrong_one_is_refused_before_it_runs() -> None:
    with pytest.raises(UsageError, match="primary must be METRIC"):
        compose(["data=digits", "primary=['top1: nothing']"])
    with pytest.raises(UsageError, match="primary must declare each contrast once"):
        compose(["data=digits", "primary=[top1,top1]"])


def test_it_is_no_part_of_what_a_run_is() -> None:
    plain, declared = compose(["data=digits"]), compose(["data=digits", "primary=[top1]"])
    assert declared.primary == ["top1"]
    assert run_id(plain, "f" * 64) == run_id(declared, "f" * 64)


@pytest.mark.parametrize("study", ["optimizers", "losses"])
def test_studies_declare_a_contrast_of_what_they_vary(study: str) -> None:
    (words,) = compose([f"study={study}", "data=digits"]).primary
    found = parse(words)
    assert found.ours
    assert list(found.ours) == [study.removesuffix("s").removesuffix("e") if study == "losses" else "optimizer"]
    for side in (found.ours, found.theirs):
        compose(["data=digits", *(f"{key}={value}" for key, value in side.items())])
