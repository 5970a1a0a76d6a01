"""Test sweeps on a SLURM cluster, which is this machine alone."""

import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from imgrec import records
from imgrec.sweeps.run import Sweep

SWEEP = Path("outputs/default")
ON_CPU = ("trainer=cpu", "trainer.threads=1")


def runs_in(folder: Path) -> dict[int, Any]:
    found = [records.read(path) for path in folder.glob("*/record.json")]
    return {record.config["seed"]: record for record in found}


def submissions() -> Counter[str]:
    """How often each run was submitted."""
    return Counter(run for path in SWEEP.glob("slurm/*/runs.json") for run in json.loads(path.read_text()))


def job_of(seed: int) -> str | None:
    """SLURM's id of the run's newest job, as its log names it; None before."""
    for path in sorted(SWEEP.glob("slurm/*/*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        done = path.with_name("submitted.json")
        if path.stem.isdecimal() and done.exists() and json.loads(path.read_text())["config"]["seed"] == seed:
            return f"{json.loads(done.read_text())['job']}_{path.stem}"
    return None


def steps_of(seed: int) -> int:
    (folder,) = list(SWEEP.glob(f"*seed-{seed}-*")) or [Path("none")]
    curves = folder / "curves.csv"
    return len(curves.read_text().splitlines()) if curves.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_sweep_loses_nothing_and_submits_nothing_twice(
    slurm: Callable[..., None],
    imgrec: Callable[..., Any],
    tiny: list[str],
    workplace: Path,
    steps_that_take: Callable[[float], None],
    outcome: Callable[[str, str], None],
) -> None:
    """One run is preempted, one fails, one is cancelled, and the command is killed twice."""
    steps_that_take(0.5)
    Path("fails-2").touch()
    chance = random.Random()
    words = [*tiny, *ON_CPU, "trainer.max_epochs=4", "seed=0,1,2,3,4,5", "launcher=slurm", "launcher.cpus_per_task=1"]
    for _ in range(2):
        child = imgrec("train", "-m", *words, group=True)
        began = time.monotonic()
        wait_until(lambda: SWEEP.is_dir() and list(SWEEP.glob("slurm/*/runs.json")), log=child.log, patience=60)
        until = time.monotonic() + chance.uniform(0, 8)
        assert child.signal_when(lambda until=until: time.monotonic() > until, signal.SIGKILL) == -9
        outcome("driver killed", f"after {time.monotonic() - began:.1f} s")

    child = imgrec("train", "-m", *words, group=True)
    preempted = cancelled = False

    def act() -> bool:
        nonlocal preempted, cancelled
        if not preempted and steps_of(0) > 3:
            slurm("scancel", "--signal=USR1", str(job_of(0)))
            preempted = True
        if not cancelled and steps_of(3) > 3:
            slurm("scancel", str(job_of(3)))
            cancelled = True
        return child.ended()

    wait_until(act, log=child.log, patience=900, pause=0.2)
    said = child.log.read_text()
    assert child.wait() == 1, said
    assert (preempted, cancelled) == (True, True)
    assert set(submissions().values()) == {1}, said
    assert re.search(r"given back  \S*seed-0-\S*: SLURM job \S+ is in the queue again", said), said
    assert re.search(r"interrupted  \S*seed-3-\S*: SLURM job \S+ on n\d ended as CANCELLED", said), said
    assert re.search(r"^failed: \S*seed-2-\S*: boom$", said, re.MULTILINE), said
    assert "1 of 6 runs failed, 1 to resume; the same command with sweep.retry_failed=true goes on" in said
    assert {seed: record.status for seed, record in runs_in(SWEEP).items()} == {
        seed: {2: "failed", 3: "interrupted"}.get(seed, "finished") for seed in range(6)
    }

    Path("fails-2").unlink()
    child = imgrec("train", "-m", *words, "sweep.retry_failed=true", group=True)
    assert child.wait() == 0, child.log.read_text()
    assert sorted(submissions().values()) == [1, 1, 1, 1, 2, 2], "the failed and the cancelled run were done over"

    steps_that_take(0)
    local = Sweep([*words[:-2], "hydra.sweep.dir=local"])
    local.run()
    here, there = runs_in(Path("local")), runs_in(SWEEP)
    for seed, record in there.items():
        assert (record.weights, record.scores) == (here[seed].weights, here[seed].scores)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_distributed_run_has_a_task_for_each_process_and_computes_the_same_as_here(
    slurm: Callable[..., None], command: Callable[..., tuple[int, str, str]], tiny: list[str], workplace: Path
) -> None:
    words = [*tiny, "trainer=ddp", "trainer.accelerator=cpu", "trainer.threads=1", "data.batch_size=4"]
    words += ["trainer.max_epochs=1", "seed=0,1"]
    code, _, err = command("train", "-m", *words, "launcher=slurm")
    assert code == 0, err
    assert "#SBATCH --ntasks-per-node=2" in next(SWEEP.glob("slurm/*/script.sh")).read_text()
    code, _, err = command("train", "-m", *words, "hydra.sweep.dir=local")
    assert code == 0, err
    here, there = runs_in(Path("local")), runs_in(SWEEP)
    assert {seed: record.weights for seed, record in there.items()} == {
        seed: record.weights for seed, record in here.items()
    }
