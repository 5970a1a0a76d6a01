"""Test files that should be records and are not: each is named, and the others are tabulated."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import lay, lay_sweep, of_markdown, run, score

Said = tuple[int, str, str]


def record(**changes: Any) -> str:
    """A record as it is written, some of its fields replaced by any JSON."""
    rows = run("optimizer=sgd seed=9", score("top1", 0.9), run_id="b" * 64)
    return json.dumps({**json.loads(json.dumps(vars(rows), default=vars)), **changes})


def config(**changes: Any) -> str:
    return record(config=json.loads(record())["config"] | changes)


DAMAGED: dict[str, str | bytes] = {
    "empty": "",
    "cut": record()[: len(record()) // 2],
    "a list": "[]",
    "a number": "3",
    "null": "null",
    "an empty object": "{}",
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "deep inside": record(config="DEEP").replace('"DEEP"', "[" * 100_000),
    "another schema": record(schema=2),
    "a schema of text": record(schema="1"),
    "binary": b"\x80\x05\x95\x00\xff" + bytes(range(256)),
    "zeros": bytes(4096),
    "UTF-16": record().encode("utf-16"),
    "of another program": '{"name": "package", "version": "1.0.0"}',
    "status unknown": record(status="done"),
    "status a list": record(status=["finished"]),
    "config no number": record(config=float("nan")),
    "config a list": record(config=[]),
    "config null": record(config=None),
    "seed a text": config(seed="one"),
    "seed no number": config(seed=float("nan")),
    "seed endless": config(seed=float("inf")),
    "seed null": config(seed=None),
    "GPU shared by a word": record(environment={"shared": "two"}),
    "scores a mapping": record(scores={"top1": 0.5}),
    "scores null": record(scores=None),
    "a score a text": record(scores=["top1"]),
    "a score without value": record(scores=[{"metric": "top1"}]),
    "a score's value a word": record(scores=[{**vars(score("top1", 0.5)), "value": "high"}]),
    "a score's metric a list": record(scores=[{**vars(score("top1", 0.5)), "metric": ["top1"]}]),
    "a score too large": record(scores=[{**vars(score("top1", 0.5)), "value": 10**400}]),
    "a score endless": record(scores=[vars(score("top1", 0.5))]).replace("0.5", "1e999"),
    "a score of texts": record(scores=[{**vars(score("top1", 0.5)), "value": "0.5"}]),
    "a score's name on two lines": record(scores=[{**vars(score("top1", 0.5)), "metric": "top1\nx"}]),
    "a score of half an image": record(scores=[{**vars(score("top1", 0.5)), "n": 0.5}]),
    "a score of less than no image": record(scores=[{**vars(score("top1", 0.5)), "n": -1}]),
    "an interval of one end": record(scores=[{**vars(score("top1", 0.5)), "ci": [0.5]}]),
    "an interval of words": record(scores=[{**vars(score("top1", 0.5)), "ci": ["low", "high"]}]),
    "settings a list": record(scores=[{**vars(score("top1", 0.5)), "settings": []}]),
    "a score twice": record(scores=[vars(score("top1", 0.5)), vars(score("top1", 0.6))]),
    "seconds a text": record(cost={"seconds": "12"}),
    "seconds too many": record(cost={"seconds": 10**400}),
    "parameters a list": record(cost={"parameters": [1]}),
    "threads a text": record(environment={"threads": "2"}),
    "threads too many": record(environment={"threads": 10**400}),
    "weights a list": record(weights=["a"]),
    "weights of numbers": record(weights={"last": 1}),
    "weights of mappings": record(weights={"last": {}}),
    "deaths a text": record(deaths="1"),
    "seed too large": config(seed=10**400),
    "seed a truth": config(seed=True),
    "words of numbers": record(command=[1]),
    "a study a number": record(study=1),
    "a fingerprint on two lines": record(fingerprint="a\nb"),
    "an integer of too many digits": record(cost={"x": 0}).replace('"x": 0', '"x": ' + "9" * 5000),
    "a score with more": record(scores=[{**vars(score("top1", 0.5)), "mood": "cheerful"}]),
    "run_id a number": record(run_id=3),
    "run_id null": record(run_id=None),
    "fingerprint a list": record(fingerprint=["f"]),
    "cost a number": record(cost=3),
    "environment a text": record(environment="here"),
}
ODD = {  # fields that only some tables read
    "study a list": record(study=["optimizers"]),
    "experiment a mapping": record(experiment={"a": 1}),
    "error a mapping": record(status="failed", error={"a": 1}),
    "command null": record(command=None),
    "command of numbers": record(command=[3]),
    "parent a list": record(parent=["a"]),
    "a learning rate that is no number": config(**{"optimizer.lr": float("nan")}),
    "an optimizer that is a list": config(**{"optimizer.name": ["sgd"]}),
    "an optimizer that is nothing": config(**{"optimizer.name": None}),
    "a config without keys": record(config={}),
    "costs that are no numbers": record(cost={"seconds": float("nan"), "parameters": "many", "flops_per_image": {}}),
    "an environment of anything": record(environment={"commit": {}, "gpu": [[]], "cpu": 3, "dirty": "so", "torch": []}),
    "a score out of range": record(scores=[{**vars(score("top1", 0.5)), "value": -1e300}]),
    "settings that are none": record(scores=[{**vars(score("top1", 0.5)), "settings": 3, "n": "many"}]),
}


@pytest.fixture
def runs(runs: Path) -> Path:
    """Three runs that are as they should be."""
    lay_sweep(runs, {"optimizer=adam": [0.50, 0.52, 0.54]})
    return runs


def damage(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_named_and_the_rest_tabulated(
    command: Callable[..., Said], runs: Path, content: str | bytes
) -> None:
    path = damage(runs / "damaged" / "record.json", content)
    code, out, err = command("table", str(runs))
    assert code == 1
    assert of_markdown(out).row("all runs")["test top1 %"] == "52.00 ± 2.00"
    problem, last = err.splitlines()
    assert problem.startswith(f"imgrec: {path}")
    assert len(problem) < 500
    assert last == "imgrec: 1 of the files could not be read and are named above; mend or move them"


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_a_record_with_odd_fields_keeps_no_other_from_being_tabulated(
    command: Callable[..., Said], runs: Path, content: str
) -> None:
    """The record is named, or tabulated as it is. The output never has an exception's name, and always has a table."""
    path = damage(runs / "odd" / "record.json", content)
    lay(runs, run("optimizer=sgd optimizer.lr=0.5 seed=0", score("top1", 0.1)))
    code, out, err = command("table", str(runs))
    assert "Error:" not in err
    assert "52.00" in out
    assert code == (1 if str(path) in err else 0)


def test_every_damaged_file_is_named_once(command: Callable[..., Said], runs: Path) -> None:
    names = [f"{number}{name}" for number in range(len(DAMAGED)) for name in ("/record.json", ".json")]
    contents = [content for content in DAMAGED.values() for _ in range(2)]
    paths = [damage(runs / "records" / name, content) for name, content in zip(names, contents, strict=True)]
    code, out, err = command("table", str(runs))
    assert code == 1
    assert "52.00 ± 2.00" in out
    assert all(err.count(f"{path}") == 1 for path in paths)
    assert err.splitlines()[-1].startswith(f"imgrec: {len(paths)} of the files could not be read")


@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a device", "a link to nothing", "too large"])
@pytest.mark.parametrize("name", ["run/record.json", "records/one.json", "run/evaluations/one.json"])
def test_what_is_no_regular_file_is_named_and_not_waited_for(
    command: Callable[..., Said], runs: Path, kind: str, name: str
) -> None:
    path = runs / name
    if "evaluations" in name:
        damage(runs / "run" / "record.json", record())
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "too large":
        path.touch()
        os.truncate(path, 2**40)  # takes no room
    else:
        path.symlink_to("/dev/zero" if kind == "a device" else "nowhere")
    code, out, err = command("table", str(runs))
    assert (code, "52.00 ± 2.00" in out or "evaluations" in name) == (1, True)
    reason = {"a link to nothing": "No such file or directory", "too large": "it has 1099511627776 bytes"}
    assert err.count(f"imgrec: {path} must be a ") == 1
    assert reason.get(kind, f"it is {kind}, which is no regular file") in err


def test_a_folder_in_a_record_s_place_is_named(command: Callable[..., Said], runs: Path) -> None:
    (runs / "records" / "odd.json").mkdir(parents=True)
    code, out, err = command("table", str(runs))
    assert code == 1
    assert "52.00 ± 2.00" in out
    assert f"imgrec: {runs / 'records' / 'odd.json'} must be a record" in err


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111], ids=oct)
def test_a_folder_that_cannot_be_read_is_named(
    command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:  # a path that others than root can follow
        Path(folder).chmod(0o755)
        monkeypatch.chdir(folder)
        lay_sweep(Path("outputs"), {"optimizer=adam": [0.50, 0.52, 0.54]})
        assert command("table", "outputs")[0] == 0, "and all is imported that nobody may not read"
        Path("outputs/locked").mkdir()
        Path("outputs/locked").chmod(mode)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)  # nobody: root reads everything
        try:
            code, out, err = command("table", "outputs")
        finally:
            os.seteuid(before)
    assert "Error" not in err
    assert "52.00 ± 2.00" in out
    assert code == 1
    assert "outputs/locked" in err


def test_a_file_whose_name_breaks_lines_stays_on_one(command: Callable[..., Said], runs: Path) -> None:
    damage(runs / "records" / "a\nimgrec: all is well\x1b[31m.json", "[]")
    code, _, err = command("table", str(runs))
    assert code == 1
    assert len(err.splitlines()) == 2
    assert err.replace("\n", "").isprintable()


def test_where_nothing_can_be_read_nothing_is_printed_and_no_file_touched(
    command: Callable[..., Said], workplace: Path
) -> None:
    damage(Path("outputs/a/record.json"), "[]")
    Path("table.md").write_text("yesterday's table")
    code, out, err = command("table", "outputs", "-o", "table.md")
    assert code == 1
    assert Path("table.md").read_text() == "yesterday's table"
    assert out == ""
    assert "outputs/a/record.json must be a record" in err
    code, out, _ = command("table", "outputs")
    assert (code, out) == (1, "")


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_an_error_of_several_lines_stays_in_its_note(command: Callable[..., Said], runs: Path, form: str) -> None:
    """The error of a failed run may be the text of any exception."""
    error = "RuntimeError: CUDA error\nthe launch failed\n\nCompile with `TORCH_USE_CUDA_DSA`\x1b[31m"
    lay(runs, run("optimizer=adam seed=3", status="failed", error=error))
    code, out, err = command("table", str(runs), "--format", form)
    assert code == 0
    said = err if form == "csv" else out
    assert "CUDA error the launch failed" in said
    assert said.replace("\n", "").isprintable()
    if form == "markdown":
        of_markdown(out)
    if form == "latex":
        assert "\n\n" not in out, "which ends a paragraph, and a caption has none"
