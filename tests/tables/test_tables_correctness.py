"""Test tables with stored predictions: what holds for new images, beside what seeds show on these images."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from answered import TEST_LAST, lay_answers, predicted
from crossed import World, draw
from fake_runs import Shown, lay, lay_sweep, of_csv, of_markdown, run, score
from numpy.typing import NDArray

from imgrec import predictions, statistics, text_files
from imgrec.predictions import Predicted

Said = tuple[int, str, str]
Table = Callable[..., Shown]
BASELINE = ("--baseline", "optimizer=sgd")
ALIKE = World(accuracy=0.85, difficulty=2.5, taste=1.0, seed=0.0, images=400)


def rows_of(correct: NDArray[np.bool_], first: int = 0) -> list[Predicted | None]:
    return [predicted(list(row), first=first) for row in correct]


def two(runs: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    (drawn,) = draw(ALIKE, runs, 1, seed)
    return drawn.correct[0], drawn.correct[1]


def percent(*shares: float | None) -> str:
    return f"[{', '.join(f'{100 * share:.2f}' for share in shares if share is not None)}]"


def signed(*shares: float | None) -> str:
    return f"[{', '.join(f'{100 * share:+.2f}' for share in shares if share is not None)}]"


@pytest.mark.parametrize("packed", [True, False])
def test_means_and_differences_are_also_of_new_images(table: Table, runs: Path, packed: bool) -> None:
    adam, sgd = two(4)
    lay_answers(runs, {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd)}, packed=packed)
    shown = table(*BASELINE)
    assert shown.header == [
        *("optimizer", "n", "test top1 %", "95 %", "95 %, new images"),
        *("Δ test top1 %", "p", "Δ, new images", "p, new images"),
    ]
    for name, correct in (("adam", adam), ("sgd", sgd)):
        of_both = statistics.interval_over_both(correct)
        assert shown.row(name)["95 %, new images"] == percent(of_both.low, of_both.high)
        of_seeds = statistics.summarise([float(top) for top in correct.mean(1)])
        assert shown.row(name)["95 %"] == percent(of_seeds.low, of_seeds.high)
    change = statistics.difference_over_both(adam, sgd, paired=True)
    assert change.p is not None
    assert shown.row("adam")["Δ, new images"] == signed(change.low, change.high)
    assert shown.row("adam")["p, new images"] == f"{change.p:.3f}"
    assert (shown.row("sgd")["Δ, new images"], shown.row("sgd")["p, new images"]) == ("–", "–")
    assert shown.note("Mean ± ").endswith(
        "95 %: of new seeds on these very images (Student's t), under 'new images' of new seeds on new images (crossed"
        " random effects; 94 % or more in simulation)."
    )


def test_runs_of_other_seeds_are_compared_unpaired_on_new_images_too(table: Table, runs: Path) -> None:
    adam, sgd = two(3)
    others: list[Predicted | None] = [None] * 3
    lay_answers(runs, {"optimizer=adam": [*others, *rows_of(adam)], "optimizer=sgd": rows_of(sgd)})
    change = statistics.difference_over_both(adam, sgd, paired=False)
    assert table(*BASELINE).row("adam")["Δ, new images"] == signed(change.low, change.high)


def test_p_values_of_new_images_are_corrected_for_being_several(table: Table, runs: Path) -> None:
    (adam, sgd), (adamw, _) = two(4), two(4, seed=1)
    rows = {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd), "optimizer=adamw": rows_of(adamw)}
    lay_answers(runs, rows)
    ps = [statistics.difference_over_both(each, sgd, paired=True).p for each in (adam, adamw)]
    shown = table(*BASELINE)
    assert [shown.row(name)["p, new images"] for name in ("adam", "adamw")] == [
        f"{p:.3f}" for p in statistics.holm(ps) if p is not None
    ]


def test_the_csv_has_what_new_images_show_in_columns_of_its_own(command: Callable[..., Said], runs: Path) -> None:
    adam, sgd = two(4)
    lay_answers(runs, {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd)})
    code, out, _ = command("table", str(runs), "--format", "csv", "--digits", "6", *BASELINE)
    assert code == 0
    (row,) = [row for row in of_csv(out) if row["optimizer"] == "adam"]
    of_both, change = statistics.interval_over_both(adam), statistics.difference_over_both(adam, sgd, paired=True)
    assert change.low is not None
    assert change.p is not None
    assert float(row["test top1 % new images low"]) == pytest.approx(100 * of_both.low, abs=1e-5)
    assert float(row["test top1 % difference new images low"]) == pytest.approx(100 * change.low, abs=1e-5)
    assert float(row["test top1 % p new images"]) == pytest.approx(change.p, rel=5e-3)


def test_settings_that_differ_on_these_images_alone_are_not_told_apart(table: Table, runs: Path) -> None:
    """All seeds of adam get about the same 22 images more and 13 less: this is certain of these 300 images only."""
    random = np.random.default_rng(0)
    base = random.random(300) < 0.8
    sgd = np.stack([base] * 8)
    adam = sgd.copy()
    wrong, right = np.flatnonzero(~base), np.flatnonzero(base)
    adam[:, wrong[:22]] = True
    adam[:, right[:13]] = False
    for k in range(8):  # the seeds differ by an image or so
        adam[k, right[20 + k : 20 + k + k % 3]] = False
    lay_answers(runs, {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd)})
    shown = table(*BASELINE)
    assert float(shown.row("adam")["p"].removeprefix("< ")) < 0.01
    assert float(shown.row("adam")["p, new images"]) > 0.05
    assert not any(cell.startswith("**") for row in shown.rows for cell in row.values())
    assert "can't tell which is best" in shown.verdict
    assert "; new images: [-" in shown.verdict
    assert "8 seeds can tell of these images, while new images have p = " in shown.note("test top1 %: no best")


def test_a_lead_that_new_images_show_too_is_marked_and_the_note_says_what_it_amounts_to(
    table: Table, runs: Path
) -> None:
    random = np.random.default_rng(0)
    adam, sgd = (random.random((5, 500)) < share for share in (0.9, 0.7))
    lay_answers(runs, {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd)})
    shown = table()
    assert shown.row("adam")["test top1 %"].startswith("**")
    assert shown.note("Bold: ") == (
        "Bold: all its runs are finished, and its lead over every other setting is one that as many seeds would find"
        " with a chance of 80 %, which amounts to p < 0.02 each, with p < 0.05 on new images."
    )
    seeds = statistics.paired(dict(enumerate(100 * adam.mean(1))), dict(enumerate(100 * sgd.mean(1))))
    both = statistics.difference_over_both(adam, sgd, paired=True)
    assert seeds is not None
    assert both.low is not None
    assert both.high is not None
    assert shown.verdict == (
        f"test top1 %: optimizer=adam is best; it leads optimizer=sgd, the next, by {seeds.mean:.2f} points"
        f" [{seeds.low:.2f}, {seeds.high:.2f}] (5 seeds each, these images); new images:"
        f" {percent(both.low, both.high)}."
    )


def test_single_runs_have_intervals_over_images_and_are_compared_image_by_image(table: Table, runs: Path) -> None:
    adam, sgd = two(1)
    lay_answers(runs, {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd)})
    shown = table(*BASELINE)
    of_run, change = statistics.interval_over_both(adam), statistics.difference_over_both(adam, sgd, paired=True)
    assert shown.header[:4] == ["optimizer", "n", "test top1 %", "95 %, new images"], "no empty column"
    assert shown.row("adam")["95 %, new images"] == percent(of_run.low, of_run.high)
    assert shown.row("adam")["Δ, new images"] == signed(change.low, change.high)
    assert shown.row("adam")["p, new images"] == f"{change.p:.3f}"
    assert shown.note("Δ: ").endswith("run against run over new images (McNemar's mid-p).")
    assert shown.note("Mean ± ").endswith("95 %: where n = 1 of that one run on new images (Wilson's).")


def test_a_single_run_without_predictions_has_the_interval_of_its_record(table: Table, runs: Path) -> None:
    measured = score("top1", 0.5)
    measured.ci = (0.4, 0.6)
    lay(runs, run("optimizer=sgd seed=0", measured))
    shown = table()
    assert shown.rows[0]["95 %, new images"] == "[40.00, 60.00]"
    assert shown.verdict == "test top1 %: 50.00 (1 seed, 95 % [40.00, 60.00] on new images)."


def test_where_a_run_has_no_predictions_its_setting_is_told_by_seeds_alone(table: Table, runs: Path) -> None:
    adam, _ = two(3)
    lay_answers(runs / "new", {"optimizer=adam": rows_of(adam)})
    lay_sweep(runs / "old", {"optimizer=sgd": [0.5, 0.52, 0.51]})
    shown = table(*BASELINE)
    assert shown.row("sgd")["95 %, new images"] == "–"
    assert shown.row("adam")["95 %, new images"] != "–"
    assert "Δ, new images" not in shown.header


def test_other_images_are_not_paired(table: Table, runs: Path) -> None:
    adam, sgd = two(3)
    lay_answers(runs / "one", {"optimizer=adam": rows_of(adam)})
    lay_answers(runs / "other", {"optimizer=sgd": rows_of(sgd, first=1)})
    shown = table(*BASELINE)
    assert shown.row("adam")["95 %, new images"] != "–"
    assert "Δ, new images" not in shown.header


def test_scores_that_are_no_means_of_right_answers_are_told_by_seeds_alone(table: Table, runs: Path) -> None:
    adam, _ = two(3)
    lay_answers(runs, {"optimizer=adam": rows_of(adam)})
    for path in (runs / "records").glob("*.json"):
        path.write_text(path.read_text().replace('"top1"', '"loss"'))
    assert "95 %, new images" not in table("--scores", "loss").header


def test_damaged_predictions_are_named_and_the_table_tells_of_seeds_alone(
    command: Callable[..., Said], runs: Path
) -> None:
    adam, sgd = two(3)
    lay_answers(runs, {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd)})
    (runs / predictions.NAME).write_bytes(b"no archive")
    code, out, err = command("table", str(runs))
    assert code == 1
    line, *_ = err.splitlines()
    assert "predictions.npz must be predictions that imgrec wrote" in line
    assert "95 %, new images" not in of_markdown(out).header
    (runs / predictions.NAME).unlink()
    assert command("table", str(runs))[::2] == (0, "")


@pytest.fixture
def clear_lead(runs: Path) -> Path:
    """Two settings of five runs each, in folders; the lead of adam is clear on new images too."""
    random = np.random.default_rng(0)
    adam, sgd = (random.random((5, 500)) < share for share in (0.9, 0.7))
    lay_answers(runs, {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd)}, packed=False)
    return runs


@pytest.mark.parametrize("setting", ["adam", "sgd"])
def test_predictions_that_are_named_and_gone_are_noted_and_no_lead_is_marked_without(
    table: Table, clear_lead: Path, setting: str
) -> None:
    (gone,) = clear_lead.glob(f"*{setting}*seed-3*/{predictions.NAME}")
    gone.rename("kept.npz")
    shown = table()
    assert "predictions of 1 of 10 runs, which their records name, cannot be read" in shown.note("predictions of ")
    assert not any("**" in text for row in shown.rows for text in row.values())
    why = "the predictions that would show it of new images are not there"
    assert shown.note("test top1 %: no best is marked").endswith(f", and {why}.")
    assert shown.verdict.endswith(f"; {why}.")
    for path in clear_lead.glob("*/record.json"):
        rows = json.loads(path.read_text())
        losses = [each | {"metric": "loss", "value": 1 - each["value"]} for each in rows["scores"]]
        path.write_text(json.dumps(rows | {"scores": rows["scores"] + losses}))
    shown = table("--scores", "top1,loss")
    assert shown.row("adam")["test loss"].startswith("**"), "predictions do not tell of it"
    assert not shown.row("adam")["test top1 %"].startswith("**")
    Path("kept.npz").rename(gone)
    shown = table()
    assert shown.row("adam")["test top1 %"].startswith("**")
    assert not any("which their records name" in note for note in shown.notes)


def test_of_a_study_that_keeps_the_last_alone_a_table_of_the_best_says_so(table: Table, runs: Path) -> None:
    random = np.random.default_rng(0)
    adam, sgd = (random.random((5, 500)) < share for share in (0.9, 0.7))
    lay_answers(runs, {"optimizer=adam": rows_of(adam), "optimizer=sgd": rows_of(sgd)})
    packed = predictions.read(runs / predictions.NAME)
    predictions.write(
        runs / predictions.NAME, {name: {TEST_LAST: places[TEST_LAST]} for name, places in packed.items()}
    )
    shown = table()
    assert shown.note("not of new images: ") == (
        "not of new images: of test/clean/best no predictions were kept, but of test/clean/last; give --at last"
    )
    assert shown.row("adam")["test top1 %"].startswith("**")
    shown = table("--at", "last")
    assert "95 %, new images" in shown.header
    assert not any(note.startswith("not of new images") for note in shown.notes)


def measured_later(folder: Path, found: Predicted, fingerprint: str, name: str = "clean-0") -> Path:
    """What `imgrec evaluate` leaves in the folder of a run. Returns its predictions."""
    owner = json.loads((folder / "record.json").read_text())["run_id"]
    own = dataclasses.replace(score("top1", float(found.correct_n.mean())), n=len(found.targets_n))
    rows = {"run_id": owner, "settings": {"data": fingerprint}, "scores": [dataclasses.asdict(own)]}
    path = folder / "evaluations" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    text_files.write_json(path, rows | {"predictions": {predictions.key_of(TEST_LAST): found.digest()}})
    predictions.write(path.with_suffix(".npz"), {owner: {TEST_LAST: found}})
    return path.with_suffix(".npz")


def test_predictions_of_other_images_are_not_taken_for_the_run_s_own(
    command: Callable[..., Said], clear_lead: Path
) -> None:
    """They are in the run's folder as well, and the run's own may be missing. They are valid themselves."""
    for folder in clear_lead.iterdir():
        measured_later(folder, predicted([True, False]), "9" * 64)
    next(clear_lead.glob(f"*adam*/{predictions.NAME}")).unlink()
    code, out, err = command("table", str(clear_lead), "--at", "last")
    assert (code, err) == (0, "")
    assert of_markdown(out).note("predictions of 1 of 10 runs")


def test_a_measurement_again_with_the_same_outcome_stands_in_for_predictions_that_are_gone(
    table: Table, clear_lead: Path
) -> None:
    before = table("--at", "last")
    path = next(clear_lead.glob(f"*adam*/{predictions.NAME}"))
    ((places,),) = (predictions.read(path).values(),)
    again = measured_later(path.parent, places[TEST_LAST], "f" * 64)
    path.unlink()
    assert table("--at", "last") == before
    again.unlink()
    assert table("--at", "last") != before


@pytest.mark.parametrize("is_later", [False, True])
def test_a_file_that_holds_other_predictions_than_are_named_is_refused(
    command: Callable[..., Said], clear_lead: Path, is_later: bool
) -> None:
    path = next(clear_lead.glob(f"*adam*/{predictions.NAME}"))
    namer = path.parent / "record.json"
    ((owner, places),) = predictions.read(path).items()
    if is_later:
        record = json.loads(namer.read_text())
        namer.write_text(json.dumps(record | {"predictions": {}}))
        path.unlink()
        path = measured_later(path.parent, places[TEST_LAST], "f" * 64)
        namer = path.with_suffix(".json")
    others = {TEST_LAST: predicted([False] * 500)}
    predictions.write(path, {owner: others})
    code, _, err = command("table", str(clear_lead), "--at", "last")
    assert code == 1
    assert err.startswith(f"imgrec: {path} must hold the predictions that {namer} names, ")
    path.unlink()
    assert command("table", str(clear_lead), "--at", "last")[::2] == (0, "")


def lay_measured(place: Path, seed: int, top1: float, found: Predicted, precision: str) -> Path:
    """A run of an older version, which kept no predictions, measured again with them. Returns that measurement."""
    record = run(f"optimizer=sgd seed={seed}", dataclasses.replace(score("top1", top1), n=len(found.targets_n)))
    own = dataclasses.replace(record.scores[0], value=float(found.correct_n.mean()), settings={"precision": precision})
    path = lay(place, record).parent / "evaluations" / f"clean-{precision}.json"
    path.parent.mkdir()
    predictions.write(path.with_suffix(".npz"), {record.run_id: {TEST_LAST: found}})
    rows = {"run_id": record.run_id, "scores": [dataclasses.asdict(own)]}
    text_files.write_json(path, rows | {"predictions": {predictions.key_of(TEST_LAST): found.digest()}})
    return path


@pytest.mark.parametrize(("precision", "change"), [("bf16", 0.0), ("32", 0.01), ("32", 0.0)])
def test_predictions_of_a_later_measurement_count_only_with_its_score(
    table: Table, runs: Path, precision: str, change: float
) -> None:
    _, sgd = two(2)
    for seed, row in enumerate(sgd):
        path = lay_measured(runs, seed, float(row.mean()) + change, predicted(list(row)), precision)
    shown = table("--at", "last")
    told = [
        note for note in shown.notes if note.endswith(f"as another score than theirs counts: test/clean/last of {path}")
    ]
    if (precision, change) == ("32", 0.0):
        of_both = statistics.interval_over_both(sgd)
        assert shown.rows[0]["95 %, new images"] == percent(of_both.low, of_both.high)
        assert told == []
    else:
        assert "95 %, new images" not in shown.header
        assert len(told) == 1, shown.notes


@pytest.mark.parametrize("changes", [{"value": 0.5}, {"n": 399}])
def test_predictions_that_do_not_make_the_score_are_refused(
    command: Callable[..., Said], runs: Path, changes: dict[str, float]
) -> None:
    _, sgd = two(2)
    lay_answers(runs, {"optimizer=sgd": rows_of(sgd)})
    path = next((runs / "records").glob("*.json"))
    rows = json.loads(path.read_text())
    path.write_text(json.dumps(rows | {"scores": [each | changes for each in rows["scores"]]}))
    code, out, err = command("table", str(runs))
    assert code == 1
    assert err.startswith(f"imgrec: {path} must name the predictions that its scores come from")
    assert "95 %, new images" not in of_markdown(out).header
    path.write_text(json.dumps(rows))
    assert command("table", str(runs))[::2] == (0, "")
