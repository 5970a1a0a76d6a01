"""Test a study's declaration of `primary`: its form, and that it does not change a run's id."""

import pytest

from imgrec.config.compose import compose
from imgrec.config.declaration import METRICS, check
from imgrec.config.identity import run_id
from imgrec.config.primary import parse
from imgrec.config.registry import components
from imgrec.config.schemas import choices, recorded_name
from imgrec.errors import UsageError
from imgrec.tables import derived_scores


def test_a_contrast_names_a_score_its_place_and_both_sides() -> None:
    found = parse("top1 at last: optimizer=adam loss=mse vs optimizer=sgd loss=brier")
    assert (found.metric, found.at) == ("top1", "last")
    assert (found.ours, found.theirs) == (
        {"optimizer": "adam", "loss": "mse"},
        {"optimizer": "sgd", "loss": "brier"},
    )


def test_a_contrast_may_depend_on_a_condition() -> None:
    found = parse("top1: augment=mixup vs augment=none under trainer.max_epochs=24 vs trainer.max_epochs=6")
    assert (found.ours, found.theirs) == ({"augment": "mixup"}, {"augment": "none"})
    assert (found.here, found.there) == ({"trainer.max_epochs": "24"}, {"trainer.max_epochs": "6"})
    check([found.words])
    with pytest.raises(
        UsageError, match=r"name choices as records do, got .*; write 'top1: loss=mse vs loss=brier und"
    ):
        check(["top1: loss=mse vs loss=brier under optimizer=momentum_plain vs optimizer=adam"])


def test_a_score_can_be_declared_alone() -> None:
    found = parse("ece_debiased")
    assert (found.metric, found.at, found.ours, found.theirs) == ("ece_debiased", None, {}, {})


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("", "must be METRIC [at best|last][: KEY=VALUE vs KEY=VALUE [under KEY=VALUE vs KEY=VALUE]]"),
        (
            "top1: optimizer=adam",
            "must be METRIC [at best|last][: KEY=VALUE vs KEY=VALUE [under KEY=VALUE vs KEY=VALUE]]",
        ),
        ("top1: optimizer vs optimizer=sgd", "must have sides of KEY=VALUE, each key once"),
        ("top1: seed=1 seed=2 vs seed=3", "must have sides of KEY=VALUE, each key once"),
        ("top1: optimizer=adam vs loss=mse", "must give both sides other values of the same keys"),
        ("top1: optimizer=adam vs optimizer=adam", "must give both sides other values of the same keys"),
        ("top1: loss=mse vs loss=brier under seed=1", "must have sides of KEY=VALUE, each key once"),
        ("top1: loss=mse vs loss=brier under seed=1 vs seed=1", "must give both sides other values of the same keys"),
        ("top1: loss=mse vs loss=brier under loss=focal vs loss=hinge", "must have conditions of other keys than its"),
    ],
)
def test_words_of_another_form_are_refused_with_an_example_that_works(words: str, rule: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(words)
    said = str(refused.value)
    assert said.startswith(f"primary {rule}")
    assert repr(words) in said
    assert parse(said.rpartition("; as ")[2].strip("'")).metric == "top1"


def test_another_place_is_refused() -> None:
    with pytest.raises(UsageError, match="primary's place must be one of best, last, got 'lats'; did you mean last"):
        parse("top1 at lats: optimizer=adam vs optimizer=sgd")


def test_a_command_with_a_wrong_one_is_refused_before_it_runs() -> None:
    with pytest.raises(UsageError, match="primary must be METRIC"):
        compose(["data=digits", "primary=['top1: nothing']"])
    with pytest.raises(UsageError, match="primary must declare each contrast once"):
        compose(["data=digits", "primary=[top1,top1]"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("topp1 at last: optimizer=adam vs optimizer=sgd", "primary's score must be one of top1, top5, loss, "),
        ("ece_perfect", "primary's score must be one of top1, top5, loss, "),
        ("top1: optimzer=adam vs optimzer=sgd", "got 'optimzer'; did you mean optimizer?"),
        ("top1: optimizer.name=adam vs optimizer.name=sgd", "got 'optimizer.name'; did you mean optimizer?"),
        ("top1: optimizer.lrr=1 vs optimizer.lrr=2", "got 'optimizer.lrr'; did you mean optimizer.lr?"),
        ("top1: seed=1 vs seed=2", "primary must name keys that settings of a table can differ in, got 'seed'; "),
        ("top1: trainer=cpu vs trainer=gpu", "primary must name keys that settings of a table can differ in, got 't"),
        ("top1: test=true vs test=false", "primary must name keys that settings of a table can differ in, got 'tes"),
        ("top1: optimizer=adm vs optimizer=sgd", "got 'adm'; did you mean adam?"),
        ("top1: experiment=spede94 vs experiment=demo", "got 'spede94'; did you mean speed94?"),
    ],
)
def test_what_no_table_could_answer_is_refused(words: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        check([words])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("words", "mended"),
    [
        ("top1: optimizer=momentum_plain vs optimizer=adam", "top1: optimizer=momentum vs optimizer=adam"),
        (
            "ece at last: loss=focal_3 vs loss=focal",
            "ece at last: loss=focal loss.gamma=3.0 vs loss=focal loss.gamma=2.0",
        ),
        (
            "top1: optimizer=momentum_cifar vs optimizer=momentum_plain",
            "top1: optimizer=momentum optimizer.weight_decay=0.0005 optimizer.nesterov=true"
            " vs optimizer=momentum optimizer.weight_decay=0.0 optimizer.nesterov=false",
        ),
    ],
)
def test_a_choice_that_records_call_otherwise_is_refused_with_words_that_they_have(words: str, mended: str) -> None:
    with pytest.raises(UsageError, match="primary must name choices as records do") as refused:
        check([words])
    assert str(refused.value).endswith(f"got {words!r}; write {mended!r}")
    check([mended])


def test_a_command_with_an_unknown_score_is_refused_before_it_runs() -> None:
    with pytest.raises(UsageError, match=r"primary's score must be one of .*, got 'topp1'; did you mean top1"):
        compose(["data=digits", "primary=[topp1]"])


def test_every_choice_has_the_name_that_its_runs_record() -> None:
    for axis in ("augment", "model", "loss", "optimizer", "schedule", "data"):
        for name in choices(axis):
            recorded = recorded_name(axis, name)
            assert recorded in components(axis) or (axis == "augment" and recorded == name)


def test_scores_and_keys_that_tables_know_can_be_declared() -> None:
    derivable = {name for name in derived_scores.OF if not name.endswith("_perfect")}
    check([*METRICS, *derivable, *derived_scores.OF.values()])
    check(
        [
            "top1 at best: experiment=none vs experiment=demo",
            "top1: data.root=a vs data.root=b",
            "top1: augment=cutout vs augment=none",
            "top1: optimizer.lr=1e-3 vs optimizer.lr=0.1",
            "top1: loss=focal loss.gamma=3 vs loss=cross_entropy loss.gamma=–",
        ]
    )


def test_it_is_no_part_of_what_a_run_is() -> None:
    plain, declared = compose(["data=digits"]), compose(["data=digits", "primary=[top1]"])
    assert declared.primary == ["top1"]
    assert run_id(plain, "f" * 64) == run_id(declared, "f" * 64)


@pytest.mark.parametrize("study", ["optimizers", "losses"])
@pytest.mark.long
def test_studies_declare_a_contrast_of_what_they_vary(study: str) -> None:
    (words,) = compose([f"study={study}", "data=digits"]).primary
    found = parse(words)
    assert found.ours
    assert list(found.ours) == [study.removesuffix("s").removesuffix("e") if study == "losses" else "optimizer"]
    for side in (found.ours, found.theirs):
        compose(["data=digits", *(f"{key}={value}" for key, value in side.items())])
