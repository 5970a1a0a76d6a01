"""Test what Weights & Biases has of a run that is kept offline: each step once, however often the run was killed."""

import importlib.util
import json
import signal
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same_run, ended_at

from imgrec import launch
from imgrec.curve_file import read_curves

# it is imported by the tests alone, as that takes seconds
pytestmark = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs the extra wandb")

TWO = "trainer.max_epochs=2"  # 8 steps each
WORDS = (TWO, "loggers=[wandb]")


HEADER = b":W&B\xe1\xbe\0"
BLOCK = 32768  # bytes
FULL, LAST = 1, 4  # kinds of pieces; others go on in the next one


def records_of(path: Path) -> Iterator[Any]:
    """The records of a file of wandb's, which has the form of LevelDB's logs."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content.startswith(HEADER)
    place, data = len(HEADER), b""
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:  # the rest of a block is empty
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        data += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(data)
            data = b""
            yield record


def values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


class Kept:
    """What the files of a run say: its id, settings, rows and last scores."""

    def __init__(self, folder: Path) -> None:
        (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
        self.rows: list[dict[str, Any]] = []
        self.settings: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        for record in records_of(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.id, self.name, self.group = record.run.run_id, record.run.display_name, record.run.run_group
                self.project, self.tags = record.run.project, list(record.run.tags)
                self.settings |= values(record.run.config.update)
            elif kind == "config":
                self.settings |= values(record.config.update)
            elif kind == "history":
                self.rows.append(values(record.history.item) | {"_step": record.history.step.num})
            elif kind == "summary":
                self.summary |= values(record.summary.update)
            elif kind == "exit":
                self.exit_code = record.exit.exit_code


def assert_has_the_curves(kept: Kept, folder: Path) -> None:
    """Each step is one row with the numbers of curves.csv."""
    assert max(Counter(row["_step"] for row in kept.rows).values()) == 1
    expected: dict[int, dict[str, float]] = {}
    for row in read_curves(folder / "curves.csv"):
        if row["metric"] != "images_per_second":
            expected.setdefault(int(row["step"]), {})[f"{row['split']}/{row['metric']}"] = float(row["value"])
    found = {row["trainer/global_step"]: row for row in kept.rows if "confusion.path" not in row}
    assert found.keys() == expected.keys()
    for step, numbers in expected.items():
        assert {name: found[step][name] for name in numbers} == numbers


@pytest.mark.long
def test_a_run_is_kept_with_curves_settings_scores_and_figures(tiny: list[str]) -> None:
    run = launch.train([*tiny, *WORDS, "hydra.run.dir=runs/one", "logger.wandb.tags=[first]"])
    kept = Kept(run.folder)
    assert_has_the_curves(kept, run.folder)
    assert (kept.name, kept.group, kept.project, kept.tags) == ("one", "runs", "imgrec", ["first"])
    assert kept.id.startswith(run.record.run_id[:8])
    assert kept.settings["optimizer.lr"] == 0.001
    assert kept.settings["model.widths"] == [4, 8]
    assert kept.settings["imgrec.run_id"] == run.record.run_id
    assert not [key for key in kept.settings if key.startswith("logger.")]
    score = run.record.score("top1", split="test", at="best")
    assert score is not None
    assert kept.summary["final/clean/test_top1_best"] == score.value
    assert any("confusion.path" in row for row in kept.rows)
    assert kept.exit_code == 0
    import wandb

    assert wandb.run is None


@pytest.mark.parametrize(("signum", "every"), [(signal.SIGKILL, 3), (signal.SIGTERM, 0)])
@pytest.mark.long
def test_a_run_that_was_ended_and_goes_on_is_one_run_without_a_doubled_step(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    signum: int,
    every: int,
) -> None:
    words = ["train", *tiny, *WORDS, f"trainer.checkpoint_every={every}", "hydra.run.dir=cut"]
    child = imgrec(*words, before=lambda: ended_at(11, signum))
    assert child.wait() in (-9, 143), child.log.read_text()
    (id,) = json.loads(Path("cut/their_runs.json").read_text())["wandb"].values()
    assert imgrec(*words).wait() == 0
    kept = Kept(Path("cut"))
    assert kept.id == id
    assert_has_the_curves(kept, Path("cut"))
    assert_same_run(undisturbed(TWO), Path("cut"))


@pytest.mark.long
def test_each_run_of_a_sweep_is_a_run_there(tiny: list[str], command: Callable[..., tuple[int, str, str]]) -> None:
    words = [*tiny, "trainer.max_epochs=1", "loggers=[wandb]", "hydra.sweep.dir=runs", "optimizer=adam,sgd"]
    assert command("train", "-m", *words)[0] == 0
    found = [Kept(path.parent) for path in Path("runs").glob("*/wandb")]
    assert sorted(kept.settings["optimizer.name"] for kept in found) == ["adam", "sgd"]
    assert {kept.group for kept in found} == {"runs"}
    assert {kept.exit_code for kept in found} == {0}


@pytest.mark.long
def test_a_run_that_is_disabled_leaves_nothing(tiny: list[str]) -> None:
    launch.train([*tiny, *WORDS, "logger.wandb.mode=disabled", "hydra.run.dir=one"])
    assert not list(Path("one").rglob("*.wandb"))
