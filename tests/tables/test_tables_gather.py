"""Test which files below a folder are runs, and that each run counts once."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Shown, lay, lay_sweep, measure, of_markdown, run, score

from imgrec import runfolder, text_files

Said = tuple[int, str, str]
Table = Callable[..., Shown]
SGD = {"optimizer=sgd": [0.5, 0.6]}
ONE = ("1", "50.00")  # n and score of the first seed alone
BOTH = ("2", "55.00 ± 7.07")


def numbers(shown: Shown) -> tuple[str, str]:
    """The count and the score of the only row."""
    (row,) = shown.rows
    return row["n"], row["test top1 %"]


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("outputs", "outputs"),
        ("outputs/demo", "outputs"),
        ("outputs/of/any/depth", "outputs"),
        ("outputs/records", "outputs"),
        ("outputs/study/records", "outputs"),
        ("outputs/records", "outputs/records"),
        ("moved/elsewhere", "moved"),
    ],
)
def test_runs_are_found_at_any_depth(command: Callable[..., Said], runs: Path, where: str, place: str) -> None:
    lay_sweep(Path(where), SGD)
    code, out, err = command("table", place)
    assert (code, err) == (0, "")
    assert numbers(of_markdown(out)) == BOTH


def test_a_run_s_folder_or_a_record_alone_is_a_place_as_well(command: Callable[..., Said], runs: Path) -> None:
    path = lay(runs, run("optimizer=sgd", score("top1", 0.5)))
    shutil.copy(path, "kept.json")
    for place in (path, path.parent, Path("kept.json")):
        code, out, err = command("table", str(place))
        assert (code, err) == (0, "")
        assert numbers(of_markdown(out)) == ONE


def test_several_places_make_one_table_and_none_counts_twice(command: Callable[..., Said], runs: Path) -> None:
    lay_sweep(runs / "a", {"optimizer=sgd": [0.5]})
    lay_sweep(runs / "b", {"optimizer=sgd": [None, 0.6]})
    code, out, err = command("table", str(runs / "a"), str(runs), str(runs / "b"), "./outputs")
    assert (code, err) == (0, "")
    assert numbers(of_markdown(out)) == BOTH
    assert "lies there" not in out


def test_a_moved_sweep_is_the_same_table(table: Table, runs: Path) -> None:
    lay_sweep(runs, SGD)
    before = table()
    (runs / "x").mkdir()
    for folder in list(runs.iterdir()):
        if folder.name != "x":
            folder.rename(runs / "x" / f"renamed-{folder.name[-8:]}")
    assert table() == before


@pytest.mark.parametrize("hidden", ["verify", ".trash", "demo/verify"])
def test_verifications_and_hidden_folders_are_left_out(table: Table, runs: Path, hidden: str) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5]})
    lay_sweep(runs / hidden, {"optimizer=sgd": [0.9, 0.9]})
    assert numbers(table()) == ONE


def test_what_lies_beside_runs_is_no_record(table: Table, runs: Path) -> None:
    """Files of a sweep: tuning.json, multirun.yaml. Files of a run: diagnostics.json, checkpoints/."""
    lay_sweep(runs, SGD)
    text_files.write_json(runs / "tuning.json", [])
    (runs / "multirun.yaml").write_text("hydra: {}")
    for folder in runs.glob("*seed*"):
        text_files.write_json(folder / "diagnostics.json", {})
        (folder / "checkpoints").mkdir()
        text_files.write_json(folder / "checkpoints" / "notes.json", {})
    assert numbers(table()) == BOTH


def test_links_that_lead_in_circles_are_followed_once(table: Table, runs: Path) -> None:
    lay_sweep(runs / "a", SGD)
    (runs / "a" / "up").symlink_to(Path("..").resolve(), target_is_directory=True)
    (runs / "a" / "self").symlink_to((runs / "a").resolve(), target_is_directory=True)
    assert numbers(table()) == BOTH


def test_a_run_in_two_folders_counts_once_and_is_noted(table: Table, runs: Path) -> None:
    finished = run("optimizer=sgd", score("top1", 0.5))
    for place in ("a", "b", "c"):
        lay(runs / place, finished)
    shown = table()
    assert numbers(shown) == ONE
    said = shown.note(f"run {finished.run_id[:8]} lies there 3 times and counts once: ")
    assert all(said.count(f"outputs/{place}/") == 1 for place in ("a", "b", "c"))


def test_copies_are_counted_when_there_are_many(table: Table, runs: Path) -> None:
    several = [run(f"optimizer=sgd seed={seed}", score("top1", 0.5)) for seed in range(4)]
    for place in "abcde":
        for record in several:
            lay(runs / place, record)
    shown = table()
    said = [note for note in shown.notes if " lies there 5 times and counts once: " in note]
    assert len(said) == 3
    assert all(note.endswith(" or 2 more") for note in said)
    assert shown.note("so does 1 more run")


def test_takes_of_a_run_that_ended_differently_are_named_before_copies(table: Table, runs: Path) -> None:
    copies = [run(f"optimizer=sgd seed={seed}", score("top1", 0.5)) for seed in range(4)]
    for place in "ab":
        for record in copies:
            lay(runs / place, dataclasses.replace(record, weights={"last": "1f" * 32}))
    for place, threads in (("a", 1), ("b", 2)):
        differs = run("optimizer=adam", score("top1", 0.5), environment={"threads": threads})
        lay(runs / place, dataclasses.replace(differs, weights={"last": f"{threads}a" * 32}))
    lay(runs / "c", run("optimizer=adam", status="failed"))
    notes = [note for note in table().notes if " lies there " in note]
    start = f"run {differs.run_id[:8]} lies there 3 times with different weights (threads: 1, 2) and counts once: "
    assert notes[0].startswith(start), notes
    assert len(notes) == 4
    assert not any("different weights" in note for note in notes[1:])


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_of_a_run_in_two_folders_the_finished_one_counts(table: Table, runs: Path, status: str) -> None:
    lay(runs / "a", run("optimizer=sgd", score("top1", 0.5)))
    lay(runs / "b", run("optimizer=sgd", status=status))
    assert numbers(table()) == ONE


def test_of_a_run_done_over_the_last_take_counts(table: Table, runs: Path) -> None:
    """force=true makes folders whose names contain the take's number. File times are lost when folders are copied."""
    for take, top1 in ((10, 0.7), (2, 0.6), (None, 0.5)):
        done = run("optimizer=sgd", score("top1", top1))
        lay(runs, done, f"seed-0{f'_take-{take}' if take else ''}-{done.run_id[:8]}")
    assert numbers(table()) == ("1", "70.00")


def test_what_was_measured_later_is_taken_in(table: Table, runs: Path) -> None:
    record = run("optimizer=sgd", score("top1", 0.5, at="best"))
    folder = lay(runs, record).parent
    measure(folder, record.run_id, score("top1", 0.625, at="best", protocol="tta_flip"))
    assert numbers(table()) == ONE, "the record's own protocol is shown where nothing else is asked for"
    shown = table("--protocol", "tta_flip")
    assert shown.row("all runs")["test top1 %, tta_flip"] == "62.50"


def test_what_the_record_has_is_not_taken_from_a_later_measurement(table: Table, runs: Path) -> None:
    record = run("optimizer=sgd", score("top1", 0.5, at="best"))
    file = measure(lay(runs, record).parent, record.run_id, score("top1", 0.9, at="best"), name="clean-0.json")
    shown = table()
    assert numbers(shown) == ONE
    assert shown.note("test top1 of clean at best is 0.9 in ").endswith(
        f"and the run's own measurement with the same settings counts, 0.5; remove {file}"
    )
    file.unlink()
    assert not [note for note in table().notes if "measurement" in note]


EARLY, END = "e" * 64, "f" * 64


@pytest.mark.parametrize(
    ("of_record", "of_measurement", "is_taken"),
    [
        ({"last": END}, END, True),
        ({"last": END}, EARLY, False),
        ({"best": EARLY, "last": END}, EARLY, False),
        ({"best": END}, END, False),
        ({}, EARLY, True),
        ({"last": END}, None, True),
    ],
    ids=["its own", "an earlier epoch's", "the best's", "no last", "older record", "older measurement"],
)
def test_a_measurement_counts_only_if_it_is_of_the_finished_run_s_weights(
    table: Table, runs: Path, of_record: dict[str, str], of_measurement: str | None, is_taken: bool
) -> None:
    """A run may be measured while it is interrupted, and trained further afterwards."""
    record = run("optimizer=sgd", score("top1", 0.5), weights=of_record)
    later = score("loss", 0.75)
    folder = lay(runs, record).parent
    path = measure(folder, record.run_id, later, weights=of_measurement)
    lay(runs, run("optimizer=sgd seed=1", score("top1", 0.5), score("loss", 0.25)))
    shown = table("--scores", "loss", "--at", "last")
    assert shown.rows[0]["test loss"] == ("0.5000 ± 0.3536" if is_taken else "0.2500")
    told = [note for note in shown.notes if str(path) in note]
    assert told == [] if is_taken else "it measures other weights than the finished run's" in told[0]


def test_measured_again_the_finished_run_s_score_counts(table: Table, runs: Path) -> None:
    record = run("optimizer=sgd", score("top1", 0.5), weights={"last": END})
    folder = lay(runs, record).parent
    for name, value, weights in (("tta_flip-0.json", 0.25, EARLY), ("tta_flip-1.json", 0.75, END)):
        measure(folder, record.run_id, score("top1", value, protocol="tta_flip"), name=name, weights=weights)
    assert table("--at", "last", "--protocol", "tta_flip").rows[0]["test top1 %, tta_flip"] == "75.00"


def test_a_measurement_of_a_run_that_has_not_finished_is_left_out(table: Table, runs: Path) -> None:
    lay_sweep(runs / "done", {"optimizer=adam": [0.5]})
    record = run("optimizer=sgd", status="interrupted")
    measure(lay(runs, record).parent, record.run_id, score("top1", 0.9), weights=EARLY)
    assert table().note("left out, as the run has not finished")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "must be a measurement of run {own}, and is one of 00000000; move it to that run's folder"),
        ("[]", "must be a measurement that imgrec wrote, got "),
        ("{", "must be a measurement that imgrec wrote, got "),
        ("[" * 100_000, "must be a measurement that imgrec wrote, got "),
        ('{"scores": []}', "must be a measurement that imgrec wrote, got no 'run_id'; measure again"),
        ('{"run_id": "a", "scores": {"top1": 0.5}}', "must be a measurement that imgrec wrote, got "),
        ('{"run_id": "a", "scores": [{"metric": "top1"}]}', "must be a measurement that imgrec wrote, got no 'value'"),
    ],
    ids=["another run's", "a list", "cut", "deep", "nobody's", "scores a mapping", "half a score"],
)
def test_a_measurement_that_does_not_belong_is_named_and_the_run_tabulated(
    command: Callable[..., Said], runs: Path, text: str | None, sentence: str
) -> None:
    record = run("optimizer=sgd", score("top1", 0.5))
    path = measure(lay(runs, record).parent, "0" * 64, score("top1", 0.9, at="best"))
    if text is not None:
        path.write_text(text)
    code, out, err = command("table", str(runs))
    assert code == 1
    assert numbers(of_markdown(out)) == ONE
    problem, last = err.splitlines()
    assert problem.startswith(f"imgrec: {path} {sentence.format(own=record.run_id[:8])}")
    assert last == "imgrec: 1 of the files could not be read and are named above; mend or move them"


def test_a_run_that_nobody_works_on_any_more_is_interrupted(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, "running"]})
    assert table().rows[0]["runs"] == "1/2 (1 interrupted)"
    (folder,) = runs.glob("*seed-1*")
    with runfolder.lock(folder):
        assert table().rows[0]["runs"] == "1/2 (1 running)"
