"""Test two processes with averaged gradients, on the CPU."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, state


def test_two_processes_train_as_one_with_the_batches_of_both(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    """They also leave out the same images in the third epoch."""
    words = [*tiny, "optimizer=sgd", "optimizer.lr=0.1", "data.prune=0.4", "trainer.max_epochs=3"]  # 60 images
    one = imgrec("train", *words, "data.batch_size=12", "hydra.run.dir=one")
    assert one.wait() == 0, one.log.read_text()
    two = imgrec("train", *words, "trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=6", "hydra.run.dir=two")
    assert two.wait() == 0, two.log.read_text()
    for said in ("finished:", "from epoch 3 on without the easiest 24 of 60"):
        assert two.log.read_text().count(said) == 1, "one process speaks"
    alone, shared = (state(workplace / name) for name in ("one", "two"))
    subsets = alone["ImageData"]["subset"], shared["ImageData"]["subset"]
    assert subsets[0]["since"] == subsets[1]["since"] == 2
    assert torch.equal(subsets[0]["kept"], subsets[1]["kept"])
    for name, value in alone["state_dict"].items():
        torch.testing.assert_close(shared["state_dict"][name], value, rtol=1e-4, atol=1e-6)
    scores = [
        {
            (row["split"], row["at"], row["metric"]): (round(row["value"], 4), row["n"])
            for row in json.loads((workplace / name / "record.json").read_text())["scores"]
        }
        for name in ("one", "two")
    ]
    assert scores[0] == scores[1]
    logs = {path.name for path in (workplace / "two").glob("*.log")}
    assert logs == {"train.log"}


def test_a_signal_to_the_first_process_ends_both_at_the_same_step(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4", "trainer.max_epochs=3")
    for name, value in {"NTASKS": "1", "JOB_ID": "7", "JOB_NAME": "sweep", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)  # in a job of one task, too, the run starts its own processes
    words = ["train", *tiny, *ddp, "model.dropout=0.3", "trainer.ema_decay=0.8", "augment=crop_flip"]
    assert imgrec(*words, "hydra.run.dir=straight").wait() == 0
    curves = workplace / "cut/curves.csv"
    child = imgrec(*words, "hydra.run.dir=cut")
    code = child.signal_when(lambda: curves.exists() and "\n11,2," in curves.read_text(), signal.SIGTERM)
    assert code == 143, child.log.read_text()
    again = imgrec(*words, "hydra.run.dir=cut")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(workplace / "straight", workplace / "cut")  # the counts of the interrupted epoch included
