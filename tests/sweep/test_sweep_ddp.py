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


@pytest.mark.slow
def test_a_run_of_a_sweep_that_loses_a_process_or_fails_costs_only_itself(
    sweep: Callable[..., Any], tiny: list[str]
) -> None:
    """The first run fails, the second loses its companion, the third finishes; the same command resumes the second."""
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4", "trainer.max_epochs=1"]
    kill = "import signal; import imgrec.ddp_processes as d; start = d._start;"
    kill += " d._start = lambda *rest: (other := start(*rest), os.kill(other.pid, signal.SIGKILL))[0]"
    lost = sweep(*tiny, *ddp, "optimizer.lr=1e30,0.001", "seed=0,1", breaks=f"1:{kill}")
    assert lost.wait() == 1
    said = lost.log.read_text()
    records = [json.loads(path.read_text()) for path in sorted(Path("outputs/default").glob("*/record.json"))]
    found = {(each["config"].get("optimizer.lr"), each["config"]["seed"]): each for each in records}
    assert {key: each["status"] for key, each in found.items()} == {
        (1e30, 0): "failed",
        (1e30, 1): "interrupted",
        (0.001, 0): "finished",
        (0.001, 1): "interrupted",
    }, said
    assert "process 1 of the run was ended by SIGKILL" in found[0.001, 1]["error"]
    assert "1 of 4 runs failed, 2 to resume; the same command with sweep.retry_failed=true goes on, and" in said
    again = sweep(*tiny, *ddp, "optimizer.lr=0.001", "seed=0,1")
    assert again.wait() == 0, again.log.read_text()
    assert "2 runs: 1 finished, 1 to resume" in again.log.read_text()
