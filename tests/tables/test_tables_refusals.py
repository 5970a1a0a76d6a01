"""Test invalid requests: one sentence, exit code 2, and no output on stdout."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import lay, lay_sweep, run

Said = tuple[int, str, str]
Refusal = Callable[..., str]


@pytest.fixture
def runs(runs: Path) -> Path:
    """Two optimizers, two seeds."""
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.6], "optimizer=adam": [0.7, 0.8]})
    return runs


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--format html", "--format must be one of markdown, latex, csv, got 'html'"),
        ("--format markdwon", "--format must be one of markdown, latex, csv, got 'markdwon'; did you mean markdown?"),
        ("--at first", "--at must be one of best, last, got 'first'"),
        ("--split train", "--split must be one of test, val, got 'train'"),
        ("--split val", "no run has the score val top1; there are top1 (test, clean)"),
        ("--scores los", "no run has the score test los; there are top1 (test, clean)"),
        ("--scores top1,ece", "no run has the score test ece; there are top1 (test, clean)"),
        ("--scores ,", "--scores must name one score at least, got"),
        ("--protocol tta", "--protocol tta must be one that the runs were measured under on test, which are clean"),
        (
            "--protocol clena",
            "--protocol clena must be one that the runs were measured under on test, which are clean; did",
        ),
        ("--protocol ,", "--protocol must name one protocol at least, got"),
        ("--split val --protocol clean", "--protocol clean must be one that the runs were measured under on val, and"),
        ("--baseline optimizer", "--baseline must be KEY=VALUE, got 'optimizer'; such as --baseline optimizer=sgd"),
        ("--baseline =sgd", "--baseline must be KEY=VALUE, got '=sgd'"),
        ("--where optimizer=", "--where must be KEY=VALUE, got 'optimizer='"),
        ("--where optimizer=muon", "--where optimizer=muon must leave runs, and leaves none; there is adam, sgd"),
        (
            "--where nope=3",
            "nope must be a key of the runs, and is none; the runs differ in opt",
        ),
        ("--where optimiser=sgd", "optimiser must be a key of the runs, and is none; did you"),
        ("--baseline loss=mse --baseline loss=hinge", "--baseline must give loss one value, got mse and hinge; drop"),
        ("--baseline optimizer=muon", "--baseline optimizer=muon must be a setting of the table: adam, sgd"),
        ("--baseline loss=mse", "--baseline loss=mse must name a factor of the table, which are optimizer"),
        ("--baseline seed=0", "--baseline seed=0 must name a factor of the table, which are optimizer"),
        ("--where optimizer=sgd --baseline optimizer=sgd", "--baseline optimizer=sgd must name a factor of the table"),
        ("--published wilson-2071", "--published must be of wilson-2017, "),
        ("--published wilson-2017,nobody", "--published must be of wilson-2017, "),
        ("--published none,wilson-2017", "--published must be of wilson-2017, "),
        ("--digits -1", "Invalid value for '--digits'"),
        ("--digits 16", "Invalid value for '--digits'"),
        ("--digits two", "Invalid value for '--digits'"),
        ("--nope", "No such option: --nope"),
    ],
)
def test_a_wrong_word_is_refused(refusal: Refusal, runs: Path, words: str, sentence: str) -> None:
    assert refusal(*words.split()).startswith(sentence)


@pytest.mark.parametrize("words", [("--rows", "nope"), ("--where", "nope=3"), ("--columns", "nope")])
def test_where_nothing_varies_the_refusal_is_a_whole_sentence(
    command: Callable[..., Said], workplace: Path, words: tuple[str, str]
) -> None:
    lay_sweep(Path("alike"), {"optimizer=sgd": [0.5, 0.6]})
    code, out, err = command("table", "alike", *words)
    assert (code, out) == (2, "")
    assert "nope" in err
    assert not err.rstrip().endswith(" in"), err


def test_a_source_that_is_nearly_right_is_guessed(refusal: Refusal, runs: Path) -> None:
    assert refusal("--published", "wilson").endswith("none, or a .toml file, got 'wilson'; did you mean wilson-2017?")


def test_a_place_that_does_not_exist_is_refused(refusal: Refusal, runs: Path) -> None:
    assert refusal(places=("outputs", "outputs/gone")) == (
        "outputs/gone must be a folder of runs or a record, and does not exist; check the path"
    )


@pytest.mark.parametrize("inside", ["", "checkpoints", "records", "verify/run"])
def test_a_folder_without_runs_is_refused(refusal: Refusal, runs: Path, inside: str) -> None:
    (Path("empty") / inside).mkdir(parents=True)
    assert refusal(places=("empty",)) == (
        "empty must hold runs (record.json), and none was found; name the folder of a sweep or of runs"
    )


def test_an_empty_folder_beside_one_with_runs_is_no_fault(command: Callable[..., Said], runs: Path) -> None:
    Path("empty").mkdir()
    assert command("table", "empty", str(runs))[0] == 0


def test_without_a_place_there_is_a_refusal(command: Callable[..., Said], runs: Path) -> None:
    code, out, err = command("table")
    assert (code, out) == (2, "")
    assert "Missing argument 'DIR'" in err


def test_scores_are_not_asked_for_before_any_run_has_finished(command: Callable[..., Said], workplace: Path) -> None:
    lay(Path("begun"), run("seed=0", status="failed"))
    code, out, err = command("table", "begun", "--scores", "anything")
    assert (code, err) == (0, "")
    assert "| 0 | 0/1 (1 failed) |" in out


def test_a_table_is_written_to_a_file(command: Callable[..., Said], runs: Path) -> None:
    printed = command("table", str(runs))[1]
    code, out, err = command("table", str(runs), "-o", "table.md")
    assert (code, out, err) == (0, "table.md\n", "")
    assert Path("table.md").read_text() == printed


def test_the_file_s_folder_is_made_on_the_way(command: Callable[..., Said], runs: Path) -> None:
    code, out, _ = command("table", str(runs), "-o", "paper/tables/one.tex", "--format", "latex")
    assert (code, out) == (0, "paper/tables/one.tex\n")
    assert Path("paper/tables/one.tex").read_text().startswith("% needs")
    assert [path.name for path in Path("paper/tables").iterdir()] == ["one.tex"]


def test_a_folder_is_no_file_to_write(refusal: Refusal, runs: Path) -> None:
    assert refusal("-o", "outputs") == "outputs must be a file to write, and is a folder; name a file in it"


def test_a_file_that_cannot_be_written_is_named(command: Callable[..., Said], runs: Path) -> None:
    Path("a file").write_text("old")
    code, out, err = command("table", str(runs), "-o", "a file/table.md")
    assert (code, out) == (1, "")
    assert err.startswith("imgrec: a file/table.md cannot be written: ")
    assert err.endswith("; give another -o, or free the disk\n")
    assert len(err.splitlines()) == 1


def test_a_refused_table_leaves_the_file_as_it_was(command: Callable[..., Said], runs: Path) -> None:
    Path("table.md").write_text("old")
    assert command("table", str(runs), "--scores", "los", "-o", "table.md")[0] == 2
    assert Path("table.md").read_text() == "old"
