"""Compare the files of runs."""

import csv
import json
import os
import re
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from imgrec import run_lookup
from imgrec.config.compose import compose
from imgrec.config.schemas import keys_outside_identity
from imgrec.config.serialize import flat, from_flat
from imgrec.curve_file import read_curves
from imgrec.data import inventory


class Evil:
    """A pickle that creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.canary)!r}, 'w').close()",))


def steps_logged(folder: Path) -> int:
    path = folder / "curves.csv"
    return max((int(row["step"]) for row in read_curves(path)), default=0) if path.exists() else 0


def folder_of(words: list[str]) -> Path:
    """Where the run of these words lies, or will."""
    config = compose(words)
    return run_lookup.place(config, words, inventory.take(config.data)).folder


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal to the last bit, all the way down; clocks, and the digest of a file that holds them, excepted."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key not in ("Speed", "best_file"):
                assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for k, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{k}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(one: Path, other: Path, *, newer: Collection[str] = ()) -> None:
    """Weights, optimizer, schedule, average, metrics, random state, curves and scores.

    What is no part of a run's identity, such as the number of workers, may be set differently.

    newer: Metrics that `one` does not have, as it was made by a version that did not know them.
    """
    states = state(one), state(other)
    if newer:
        for each in states:
            each["callbacks"]["Saver"].pop("rows")
    for each in states:
        each["imgrec"]["config"] = flat(from_flat(each["imgrec"]["config"]))  # an older one lacks newer keys
        for key in keys_outside_identity():
            each["imgrec"]["config"].pop(key, None)
    assert_same(*states)
    records = [json.loads((folder / "record.json").read_text()) for folder in (one, other)]
    records[1]["scores"] = [score for score in records[1]["scores"] if score["metric"] not in newer]
    for key in ("weights", "scores", "progress", "run_id", "status"):
        assert records[0][key] == records[1][key], key
    curves = [
        [row for row in csv.reader((folder / "curves.csv").open()) if row[3] not in ("images_per_second", *newer)]
        for folder in (one, other)
    ]
    assert curves[0] == curves[1]


def one_line(err: str) -> str:
    """The line that ends what a refused command says: a sentence, and no exception's name or traceback above it."""
    assert "Traceback" not in err, err
    last = err.splitlines()[-1]
    assert last.startswith("imgrec: "), err
    assert not re.match(r"imgrec: \w*(Error|Exception)\b", last), last
    return last


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """What lies there, and when it was last changed."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")
    }


def ended_at(step: int, signum: int = signal.SIGTERM) -> None:
    """Let this process send itself a signal after that step: one that asks it to end, or SIGKILL."""
    from imgrec.training.progress import Speed

    logged = Speed.on_train_batch_end

    def on_train_batch_end(self: Speed, trainer: Any, *rest: Any) -> None:
        logged(self, trainer, *rest)
        if trainer.global_step == step:
            os.kill(os.getpid(), signum)

    Speed.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]
