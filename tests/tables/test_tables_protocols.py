"""Test which rows of protocols a table shows, and how it tells of rows and settings that it does not show."""

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fake_runs import Shown, lay, measure, run, score

from imgrec.records import Score

Said = tuple[int, str, str]
Table = Callable[..., Shown]
Refusal = Callable[..., str]


def noisy(value: float, row: str, seed: int = 0) -> Score:
    """A score under gaussian_noise, as an evaluation writes it."""
    settings = {"precision": "32", **({"seed": seed} if seed else {})}
    return dataclasses.replace(score("top1", value, protocol=f"gaussian_noise:{row}"), settings=settings)


@pytest.fixture
def runs(runs: Path) -> Path:
    """Two seeds, each measured on clean images and under noise of three deviations."""
    for seed in range(2):
        tops = [noisy(0.5 + seed / 10 - float(row), row) for row in ("0.04", "0.2", "0.1")]
        lay(runs, run(f"seed={seed}", score("top1", 0.8 + seed / 10), *tops))
    return runs


def measure_again(runs: Path, seed: int, *scores: Score, name: str) -> None:
    (folder,) = runs.glob(f"*seed-{seed}*")
    measure(folder, run(f"seed={seed}").run_id, *scores, name=name)


def shares(shown: Shown) -> list[str]:
    """The means of the only row, by column."""
    (row,) = shown.rows
    return [text.split(" ")[0] for name, text in row.items() if name.startswith("test top1")]


def test_a_note_tells_of_the_other_rows_and_its_words_show_all_side_by_side(table: Table) -> None:
    shown = table("--protocol", "gaussian_noise:0.1")
    assert shares(shown) == ["45.00"]
    said = shown.note("gaussian_noise has")
    assert said == (
        "gaussian_noise has 2 other rows: 0.04, 0.2; --protocol gaussian_noise shows all of its rows side by side"
    )
    shown = table(*shlex.split(said.partition("; ")[2].partition(" shows")[0]))
    assert [name for name in shown.header if name.startswith("test")] == [
        f"test top1 %, gaussian_noise:{row}" for row in ("0.04", "0.1", "0.2")
    ]
    assert shares(shown) == ["51.00", "45.00", "35.00"]
    assert not [note for note in shown.notes if "other row" in note]


def test_several_protocols_stand_side_by_side_for_each_score(table: Table) -> None:
    shown = table("--protocol", "clean,gaussian_noise:0.2,clean")
    assert shares(shown) == ["85.00", "35.00"]
    assert shown.note("gaussian_noise has 2 other rows: 0.04, 0.1; ")


def test_a_table_of_clean_images_has_no_note_on_rows(table: Table) -> None:
    assert not [note for note in table().notes if "row" in note]


def test_names_of_a_file_are_told_apart_by_protocol(table: Table) -> None:
    Path("names.toml").write_text('"test top1" = "Accuracy"\n')
    shown = table("--protocol", "clean,gaussian_noise:0.2", "--names", "names.toml")
    assert [name for name in shown.header if name.startswith("Accuracy")] == [
        "Accuracy, clean",
        "Accuracy, gaussian_noise:0.2",
    ]
    assert "Accuracy" in table("--protocol", "gaussian_noise:0.2", "--names", "names.toml").header


def test_a_pivot_and_limits_of_an_axis_are_of_one_row(
    refusal: Refusal, command: Callable[..., Said], runs: Path
) -> None:
    for optimizer in ("sgd", "muon"):
        lay(runs, run(f"optimizer={optimizer} seed=0", noisy(0.5, "0.1"), noisy(0.4, "0.2")))
    said = refusal("--protocol", "gaussian_noise", "--columns", "optimizer")
    assert said == (
        "--columns=optimizer shows one score, and --protocol names 3 (gaussian_noise:0.04, gaussian_noise:0.1,"
        " gaussian_noise:0.2); name one of them, or give --format csv"
    )
    for words in (("gaussian_noise:0.1",), ("gaussian_noise", "--format", "csv")):
        assert command("table", str(runs), "--columns", "optimizer", "--protocol", *words)[0] == 0
    code, _, err = command("figure", str(runs), "--protocol", "gaussian_noise", "--limits", "0,100")
    assert code == 2
    assert "--limits is of one score's axis, and --scores and --protocol name 3; draw a figure for each" in err


def test_an_unknown_row_is_refused_with_the_rows_that_there_are(refusal: Refusal) -> None:
    assert refusal("--protocol", "gaussian_noise:0.3").startswith(
        "--protocol gaussian_noise:0.3 must be one that the runs were measured under on test, which are clean,"
        " gaussian_noise:0.04|0.1|0.2"
    )
    assert refusal("--protocol", "gaussian_noise", "--split", "val").endswith(
        " on val, and there is none; on test it was, give --split test"
    )


@pytest.mark.parametrize("names", [("a.json", "b.json"), ("b.json", "a.json")])
def test_of_several_settings_one_is_shown_for_all_runs_and_the_others_are_told(
    table: Table, runs: Path, names: Sequence[str]
) -> None:
    """Whatever the files are called: the settings that a run's final reading had come first."""
    for seed, name in enumerate(names):
        measure_again(runs, seed, noisy(0.9 - seed / 10, "0.1", 2), noisy(0.9, "0.2", 2), name=name)
    shown = table("--protocol", "gaussian_noise:0.1")
    assert shares(shown) == ["45.00"]
    said = shown.note("gaussian_noise:0.1 is shown")
    assert said == (
        "gaussian_noise:0.1 is shown as measured with seed=0; runs were measured with other settings as well:"
        " --protocol gaussian_noise:0.1:seed=2"
    )
    chosen = table(*shlex.split(said.partition("as well: ")[2]))
    assert "test top1 %, gaussian_noise:0.1 seed=2" in chosen.header
    assert shares(chosen) == ["85.00"]
    assert not [note for note in chosen.notes if "shown as measured" in note]
    both = table("--protocol", "gaussian_noise:0.1:seed=0,gaussian_noise:0.1:seed=2")
    assert shares(both) == ["45.00", "85.00"]
    every = table("--protocol", "gaussian_noise")
    assert every.note("gaussian_noise:0.1, gaussian_noise:0.2 are shown as measured with seed=0; ").endswith(
        ": --protocol gaussian_noise:seed=2"
    )
    assert shares(table("--protocol", "gaussian_noise:seed=2")) == ["–", "85.00", "90.00"]


@pytest.mark.parametrize("names", [("a.json", "b.json"), ("b.json", "a.json")])
def test_measurements_with_default_settings_come_first_whatever_their_files_are_called(
    table: Table, runs: Path, names: Sequence[str]
) -> None:
    for seed in range(2):
        for noise_seed, name in enumerate(names):
            found = dataclasses.replace(noisy(0.2 + noise_seed / 2, "1", noise_seed), protocol="gaussian_noise:1")
            measure_again(runs, seed, found, name=name)
    assert shares(table("--protocol", "gaussian_noise:1")) == ["20.00"]


def test_settings_that_all_runs_have_come_before_those_of_a_few(table: Table, runs: Path) -> None:
    """The order in which files lie decides nothing: neither measurement is of the final reading."""
    values = {0: {1: 0.2, 2: 0.6}, 1: {2: 0.7}}
    for seed, own in values.items():
        for noise_seed, value in own.items():
            found = dataclasses.replace(noisy(value, "1", noise_seed), protocol="gaussian_noise:1")
            measure_again(runs, seed, found, name=f"gaussian_noise-{noise_seed}.json")
    shown = table("--protocol", "gaussian_noise:1")
    assert shares(shown) == ["65.00"]
    assert shown.note("gaussian_noise:1 is shown as measured with seed=2; ").endswith(":seed=1")
    lacking = table("--protocol", "gaussian_noise:1:seed=1")
    assert shares(lacking) == ["20.00"]
    assert lacking.note("no test top1 %, gaussian_noise:1 seed=1 that is a number: ")


def test_settings_that_no_run_has_are_refused_with_those_that_there_are(
    refusal: Refusal, runs: Path, table: Table
) -> None:
    measure_again(runs, 0, noisy(0.9, "0.1", 2), name="a.json")
    said = refusal("--protocol", "gaussian_noise:0.1:seed=7")
    assert said.startswith(
        "--protocol gaussian_noise:0.1:seed=7 must have settings that a run was measured with, which are seed=0; seed=2"
    )
    assert shares(table(*shlex.split(said.partition("such as ")[2]))) == ["45.00"]


def test_a_lower_precision_is_another_setting_and_the_final_reading_comes_first(table: Table, runs: Path) -> None:
    lower = dataclasses.replace(score("top1", 0.3), settings={"precision": "bf16"})
    measure_again(runs, 0, lower, name="clean-0.json")
    shown = table("--at", "last")
    assert shares(shown) == ["85.00"]
    way_out = shown.note("clean is shown as measured with precision=32").partition("as well: ")[2]
    assert shares(table(*shlex.split(way_out), "--at", "last")) == ["30.00"]


def test_a_measurement_with_the_same_settings_and_another_result_is_told(table: Table, runs: Path) -> None:
    measure_again(runs, 0, score("top1", 0.3), name="clean-0.json")
    shown = table()
    assert shares(shown) == ["85.00"]
    note = shown.note("test top1 of clean at last is 0.3 in outputs/")
    said = "clean-0.json, and the run's own measurement with the same settings counts, 0.8; remove outputs/"
    assert said in note
    assert note.endswith("/evaluations/clean-0.json")
