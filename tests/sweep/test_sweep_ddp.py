"""Test sweeps of distributed runs, on the CPU."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "pool"])
def test_each_run_of_a_sweep_starts_processes_of_its_own(
    sweep: Callable[..., Any], tiny: list[str], launcher: str
) -> None:
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4", "trainer.max_epochs=1"]
    child = sweep(*tiny, *ddp, "seed=0,1", f"launcher={launcher}")
    assert child.wait() == 0, child.log.read_text()
    records = [json.loads(path.read_text()) for path in Path("outputs/default").glob("*/record.json")]
    assert [record["status"] for record in records] == ["finished"] * 2
    assert {record["config"]["seed"] for record in records} == {0, 1}
    assert {record["progress"]["steps"] for record in records} == {8}, "60 images, 8 a step: both processes trained"
