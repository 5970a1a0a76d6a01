"""Test which factors varied in runs, according to their records."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from fake_runs import Shown, lay, lay_sweep, run, score

from imgrec.tables.factors import ABSENT, value_of

Table = Callable[..., Shown]
TOPS = (0.5, 0.6)


def factors(shown: Shown) -> list[str]:
    """The columns before the counts."""
    return shown.header[: shown.header.index("n")]


def settings(shown: Shown) -> list[str]:
    """Each row's factors, as words."""
    return [" ".join(row[key] for key in factors(shown)) for row in shown.rows]


@pytest.mark.parametrize(
    ("words", "keys", "rows"),
    [
        # what an optimizer's name brings along (lr, beta1, ...) is no factor, and seeds are repetitions
        (["optimizer=sgd", "optimizer=adam"], "optimizer", ["adam", "sgd"]),
        (["optimizer.lr=0.1", "optimizer.lr=10", "optimizer.lr=2"], "optimizer.lr", ["0.1", "2", "10"]),
        (["model.batch_norm=true", "model.batch_norm=false"], "model.batch_norm", ["false", "true"]),
        (["model.widths=[16,32]", "model.widths=[8,16]"], "model.widths", ["[16,32]", "[8,16]"]),
        # options that share a name differ by the first of the keys that they set
        (["optimizer=momentum", "optimizer=momentum_cifar"], "optimizer.weight_decay", ["0.0001", "0.0005"]),
        (
            ["optimizer=sgd", "optimizer=momentum", "optimizer=momentum_cifar"],
            "optimizer optimizer.weight_decay",
            ["momentum 0.0001", "momentum 0.0005", "sgd 0"],
        ),
        # a key that the other choice does not have
        (
            ["model=cnn model.dropout=0.1", "model=cnn model.dropout=0.5", "model=resnet18"],
            "model model.dropout",
            ["cnn 0.1", "cnn 0.5", "resnet18 –"],
        ),
        (
            ["loss=mse augment=none", "loss=mse augment=flip", "loss=hinge augment=none", "loss=hinge augment=flip"],
            "augment loss",
            ["flip hinge", "flip mse", "none hinge", "none mse"],
        ),
        (["experiment=demo", "experiment=article"], "experiment data", ["article cifar10", "demo digits"]),
        (["experiment=demo", "optimizer=adam"], "experiment", ["demo", "none"]),
        (
            ["experiment=demo", "experiment=demo optimizer=sgd", "experiment=article"],
            "experiment data optimizer",
            ["article cifar10 sgd", "demo digits adam", "demo digits sgd"],
        ),
        (["test_precision=32", "test_precision=bf16"], "test_precision", ["32", "bf16"]),
        # hardware, paths, workers and logging are no experiment
        (["trainer=cpu data.num_workers=2", "trainer=gpu trainer.log_every=7"], "setting", ["all runs"]),
        (["test_protocols=[clean]", "test_protocols=[clean,tta_flip]"], "setting", ["all runs"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_factors_are_what_was_varied_besides_seeds(
    table: Table, runs: Path, words: list[str], keys: str, rows: list[str]
) -> None:
    for k, setting in enumerate(words):
        for seed in (2 * k, 2 * k + 1):
            lay(runs, run(f"{setting} seed={seed}", score("top1", 0.5)))
    shown = table()
    assert factors(shown) == keys.split()
    assert settings(shown) == rows
    assert {row["n"] for row in shown.rows} == {str(2 * len(words) // len(rows))}


def test_a_tuned_rate_goes_along_with_its_optimizer(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd optimizer.lr_scale=3": TOPS, "optimizer=adam optimizer.lr_scale=0.3": TOPS})
    shown = table()
    assert factors(shown) == ["optimizer"]
    said = shown.note("goes along: ").removeprefix("goes along: optimizer.lr_scale: ")
    assert sorted(said.split(", ")) == ["0.3 with optimizer=adam", "3 with optimizer=sgd"]


def test_what_no_command_gave_is_not_said_to_go_along(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": TOPS, "optimizer=adam": TOPS})
    assert not [note for note in table().notes if note.startswith("goes along")]


@pytest.mark.parametrize("more", [[], ["--rows", "loss"]], ids=["derived", "chosen"])
def test_a_rate_tuned_for_each_loss_goes_along_with_the_loss(table: Table, runs: Path, more: list[str]) -> None:
    """As in study=losses, the tuned key belongs to another axis than the factor."""
    tuned = {"loss=mse": 10, "loss=cross_entropy": 1, "loss=brier": 3}
    lay_sweep(runs, {f"optimizer=momentum {loss} optimizer.lr_scale={scale}": TOPS for loss, scale in tuned.items()})
    shown = table("--baseline", "loss=cross_entropy", *more)
    assert factors(shown) == ["loss"]
    said = shown.note("goes along: ").removeprefix("goes along: optimizer.lr_scale: ")
    assert sorted(said.split(", ")) == ["1 with loss=cross_entropy", "10 with loss=mse", "3 with loss=brier"]
    changes = {row["loss"]: row["Δ test top1 %"] for row in shown.rows}
    assert changes == {"brier": "+0.00", "cross_entropy": "baseline", "mse": "+0.00"}


def test_a_rate_that_was_varied_within_an_optimizer_is_a_factor(table: Table, runs: Path) -> None:
    words = ["optimizer=sgd optimizer.lr_scale=3", "optimizer=sgd optimizer.lr_scale=1", "optimizer=adam"]
    lay_sweep(runs, dict.fromkeys(words, TOPS))
    shown = table()
    assert factors(shown) == ["optimizer", "optimizer.lr_scale"]
    assert settings(shown) == ["adam 1", "sgd 1", "sgd 3"]


@pytest.mark.parametrize(
    ("key", "new", "rows"),
    [
        ("trainer.nonfinite_skips", "trainer.nonfinite_skips=5", ["0", "5"]),  # the record is older than the key
        ("optimizer.nesterov", "optimizer.nesterov=true", ["false", "true"]),
        ("test_precision", "test_precision=bf16", ["32", "bf16"]),
    ],
)
def test_a_record_older_than_a_key_has_its_default(
    table: Table, runs: Path, key: str, new: str, rows: list[str]
) -> None:
    lay_sweep(runs, {"optimizer=momentum": TOPS}, config={key: None})
    assert factors(table()) == ["setting"]
    lay_sweep(runs / "same", {"optimizer=momentum": (None, None, 0.7)})
    assert factors(table()) == ["setting"], "the default is no other value"
    lay_sweep(runs, {f"optimizer=momentum {new}": TOPS})
    shown = table()
    assert factors(shown) == [key]
    assert settings(shown) == rows


def test_a_run_that_went_on_from_another_is_no_repetition_of_one_that_did_not(table: Table, runs: Path) -> None:
    lay(runs, run("seed=0", score("top1", 0.5)))
    for seed in (1, 2):
        parent = f"outputs/demo/optimizer-sgd_seed-{seed}-{seed:08x}"
        lay(runs, run(f"seed={seed}", score("top1", 0.6), parent=parent))
    lay(runs, run("seed=3", score("top1", 0.7), parent="outputs/demo/seed-3-0123abcd"))
    shown = table()
    assert factors(shown) == ["parent"]
    assert {row["parent"]: row["n"] for row in shown.rows} == {"–": "1", "optimizer-sgd": "2", "a run": "1"}


def test_that_runs_were_resumed_is_no_column_where_their_settings_tell_it(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"trainer.max_epochs=10": TOPS})
    lay_sweep(runs, {"trainer.max_epochs=20": TOPS}, parent=f"{Path.cwd()}/outputs/demo/{'x' * 80}_seed-0-0123abcd")
    shown = table("--baseline", "trainer.max_epochs=10")
    assert factors(shown) == ["trainer.max_epochs"]
    assert [row["Δ test top1 %"] for row in shown.rows] == ["baseline", "+0.00"]
    assert "goes along: resumed from another run: trainer.max_epochs=20" in shown.notes
    lay_sweep(runs, {"trainer.max_epochs=20": (None, None, 0.7)})
    shown = table()
    assert settings(shown) == ["10 –", "20 resumed", "20 –"], "a run from the start is another setting"
    assert [row["n"] for row in shown.rows] == ["2", "2", "1"]
    assert settings(table("--where", "parent=resumed")) == ["all runs"]
    assert table("--where", "parent=resumed").rows[0]["n"] == "2"


def test_parents_are_told_apart_by_the_words_that_differ(table: Table, runs: Path) -> None:
    for name in ("sgd", "adam"):
        parent = f"outputs/demo/data-digits_optimizer-{name}_widths-4-8_seed-0-0123abcd"
        lay_sweep(runs, {"optimizer=adam": TOPS}, parent=parent)
    shown = table()
    assert settings(shown) == ["optimizer-adam", "optimizer-sgd"]
    assert settings(table("--where", "parent=optimizer-sgd")) == ["all runs"]


@pytest.mark.parametrize(
    ("where", "keys", "rows"),
    [
        ({"optimizer": "sgd"}, ["loss"], ["hinge", "mse"]),
        ({"loss": "mse"}, ["optimizer"], ["adam", "sgd"]),
        ({"loss": "mse", "optimizer": "sgd"}, ["setting"], ["all runs"]),
        ({"seed": "1"}, ["loss", "optimizer"], ["hinge adam", "hinge sgd", "mse adam", "mse sgd"]),
    ],
)
def test_where_keeps_the_runs_that_have_it(
    table: Table, runs: Path, where: Mapping[str, str], keys: list[str], rows: list[str]
) -> None:
    lay_sweep(runs, {f"loss={loss} optimizer={name}": TOPS for loss in ("mse", "hinge") for name in ("sgd", "adam")})
    shown = table(*(word for key, value in where.items() for word in ("--where", f"{key}={value}")))
    assert factors(shown) == keys
    assert settings(shown) == rows


@pytest.mark.parametrize("number", ["0.001", "1e-3", "0.0010"])
def test_where_takes_a_number_as_a_command_may_write_it(table: Table, runs: Path, number: str) -> None:
    lay_sweep(runs, {"optimizer.lr=0.001": TOPS, "optimizer.lr=0.1": (0.9, 0.9)})
    assert [row["test top1 %"] for row in table("--where", f"optimizer.lr={number}").rows] == ["55.00 ± 7.07"]


def test_weights_that_runs_began_with_are_a_factor_by_the_source_s_name_without_its_seed(
    table: Table, runs: Path
) -> None:
    """Each seed has its own source, and two sources of one seed are no repetitions of each other."""
    for number, name in enumerate(("null", "loss-mse", "loss-brier")):
        for seed in (0, 1):
            source = name if name == "null" else f"outputs/base/{name}_seed-{seed}-0123abc{seed}"
            init = {} if name == "null" else {"path": source, "sha256": f"{number}{seed}" * 32}
            made = run(f"init_from={source} seed={seed}", score("top1", 0.5 + number / 10 + seed / 100), init=init)
            lay(runs / "tuned", made)
    shown = table()
    assert factors(shown) == ["init_from"]
    assert settings(shown) == ["loss-brier", "loss-mse", "null"]
    assert [row["n"] for row in shown.rows] == ["2", "2", "2"]
    assert len(table("--where", "init_from=loss-mse").rows) == 1


def test_teachers_are_a_factor_by_their_names_and_not_by_their_digests(table: Table, runs: Path) -> None:
    for number, name in enumerate(("wide", "deep")):
        for seed in (0, 1):
            teacher = f"loss.teacher=/runs/{name}_seed-{seed}-0123abc{seed} loss.teacher_digest=abc{number}{seed}"
            lay(runs / "tuned", run(f"loss=distillation {teacher} seed={seed}", score("top1", 0.5 + number / 10)))
    shown = table()
    assert factors(shown) == ["loss.teacher"]
    assert sorted(settings(shown)) == ["deep", "wide"]
    assert [row["n"] for row in shown.rows] == ["2", "2"]
    assert len(table("--where", "loss.teacher=deep").rows) == 1


def test_runs_that_differ_in_their_source_alone_are_several_trainings(table: Table, runs: Path) -> None:
    for number in (0, 1):
        init = {"path": "x", "sha256": str(number) * 64}
        lay(runs / "tuned", run("init_from=x", score("top1", 0.5), init=init))
    (row,) = table().rows
    assert row["n"] == "2"


def test_an_older_record_of_an_outside_network_has_the_keys_that_all_networks_got_later() -> None:
    made = run("model=cnn", score("top1", 0.5))
    config = {key: value for key, value in made.config.items() if not key.startswith("model.")}
    kept = {"model=mlp": {"file": "mlp.py", "sha256": "0" * 64, "defaults": {"width": 3}}}
    older = dataclasses.replace(made, config={**config, "model.name": "mlp"}, components=kept)
    assert value_of(older, "model.freeze") == "none"
    assert value_of(older, "model.width") == 3
    assert value_of(older, "model.widths") == ABSENT
