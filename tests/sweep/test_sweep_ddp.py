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


@pytest.mark.slow
def test_a_sweep_gives_a_distributed_run_the_weights_that_it_has_alone(
    sweep: Callable[..., Any], imgrec: Callable[..., Any], tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without OMP_NUM_THREADS the cores are divided among the processes of a run, in a sweep as well."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    words = [word for word in tiny if not word.startswith("trainer.threads")]
    words += ["trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4", "trainer.max_epochs=1"]
    alone, swept = imgrec("train", *words, "hydra.run.dir=alone"), sweep(*words, "seed=0")
    assert (alone.wait(), swept.wait()) == (0, 0), alone.log.read_text() + swept.log.read_text()
    places = [Path("alone/record.json"), *Path("outputs/default").glob("*/record.json")]
    one, other = (json.loads(path.read_text())["weights"] for path in places)
    assert one == other


@pytest.mark.slow
def test_a_tuning_chooses_nothing_without_a_run_that_was_interrupted_alone(
    sweep: Callable[..., Any], tiny: list[str]
) -> None:
    words = (*tiny, "trainer.max_epochs=1", "launcher=pool", "launcher.processes=2", "seed=1")
    words = (*words, "sweep=tuned", 'sweep.tune=["optimizer.lr=0.001"]', "sweep.tune_seeds=[7,8]")
    cut = sweep(*words, breaks="7:os.kill(os.getpid(), 15)")
    assert cut.wait() == 1
    assert "imgrec: 1 to resume, whose scores decide about the runs to come; the same command" in cut.log.read_text()
    assert not list(Path("outputs").glob("*/tuning.json"))
    again = sweep(*words)
    assert again.wait() == 0, again.log.read_text()
    assert list(Path("outputs").glob("*/tuning.json"))
