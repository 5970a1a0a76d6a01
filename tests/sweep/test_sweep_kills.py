"""Test a sweep that is killed at random moments and restarted each time: nothing is lost or done twice."""

import json
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same_run, one_line

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the pool's processes are followed through /proc")

EPOCHS, RUNS = 3, 8
WORDS = (
    f"trainer.max_epochs={EPOCHS}",
    "trainer.checkpoint_every=1",
    "trainer.progress=plain",
    "model.dropout=0.3",
    "augment=crop_flip",
)
GRID = ("seed=0,1,2,3", "optimizer=adam,momentum")
LAUNCHERS = [("launcher=basic",), ("launcher=pool", "launcher.processes=2")]

Files = dict[str, dict[str, bytes]]


def finished(folder: Path) -> Files:
    """The files of the runs that have finished."""
    found = {}
    for path in sorted(folder.glob("*/record.json")):
        run = path.parent
        if json.loads(path.read_text())["status"] == "finished":
            found[run.name] = {str(file): file.read_bytes() for file in sorted(run.rglob("*")) if file.is_file()}
    return found


def progress(folder: Path) -> int:
    """When something of the sweep was last written, in ns."""
    times = [0]
    for path in folder.glob("*/checkpoints/*"):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:  # replaced at this moment
            continue
    return max(times)


def epochs_logged(folder: Path) -> int:
    return sum(len(re.findall(r"epoch \d+/\d+ ", log.read_text())) for log in folder.glob("*/train.log"))


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["basic", "pool"])
@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(3, marks=pytest.mark.slow),
        pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(2400)]),
    ],
)
def test_kills_at_random_moments(
    sweep: Callable[..., Any],
    tiny: list[str],
    outcome: Callable[[str, str], None],
    launcher: tuple[str, ...],
    kills: int,
) -> None:
    words = [*tiny, *WORDS, *GRID, *launcher]
    straight = sweep(*words, "hydra.sweep.dir=straight")
    assert straight.wait() == 0, straight.log.read_text()
    assert epochs_logged(Path("straight")) == RUNS * EPOCHS
    draws, killed, number = random.Random(kills), 0, 0
    while killed < kills:
        number += 1
        folder = Path(f"cut{number}")
        done: Files = {}
        cuts = 0
        while True:
            before = progress(folder)
            child = sweep(*words, f"hydra.sweep.dir={folder}", slow_disk=True)

            def begun(before: int = before, folder: Path = folder) -> bool:
                if progress(folder) <= before:
                    return False
                time.sleep(draws.uniform(0, 1.5))
                return True

            code = child.signal_when(begun, signal.SIGKILL) if killed < kills else child.wait()
            now = finished(folder)
            assert {name: now.get(name) for name in done} == done, "a finished run was touched"
            done = now
            if code == 0:
                break
            assert code == -signal.SIGKILL, child.log.read_text()
            killed, cuts = killed + 1, cuts + 1
        assert len(done) == RUNS
        for name in done:
            assert_same_run(Path("straight") / name, folder / name)
        again = epochs_logged(folder) - RUNS * EPOCHS
        # the epoch in which a run was cut off may be told of again; the pool has two runs at a time
        assert 0 <= again <= cuts * (2 if "launcher=pool" in launcher else 1)
    outcome(
        f"{kills} SIGKILLs of a sweep of {RUNS} runs, {launcher[0]}",
        f"{number} sweeps ended by the same command, finished runs untouched, every run equal to the undisturbed",
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("runs", "rounds", "latest"), [(6, 10, 1.5), (2, 2, 0.0)])
def test_kills_of_a_basic_sweep_fail_no_run(
    sweep: Callable[..., Any],
    tiny: list[str],
    outcome: Callable[[str, str], None],
    runs: int,
    rounds: int,
    latest: float,
) -> None:
    """Each process is killed before a new checkpoint, or soon after, as happens at random moments on a slow machine.

    latest: seconds from a run's beginning to the kill; with 0 no process reaches a checkpoint.
    """
    words = [*tiny, "trainer.max_epochs=2", "trainer.progress=plain", f"seed=range({runs})"]
    draws, kills, longest = random.Random(6), 6, 0
    for number in range(rounds):
        folder = Path(f"cut{number}")
        for _ in range(kills):
            child = sweep(*words, f"hydra.sweep.dir={folder}", slow_disk=True)
            records = [path.stat().st_mtime_ns for path in sorted(folder.glob("*/record.json"))]

            def begun(records: list[int] = records, folder: Path = folder) -> bool:
                if [path.stat().st_mtime_ns for path in sorted(folder.glob("*/record.json"))] == records:
                    return False
                time.sleep(draws.choice((0.0, min(0.05, latest), draws.uniform(0, latest))))
                return True

            assert child.signal_when(begun, signal.SIGKILL) in (0, -signal.SIGKILL), child.log.read_text()
            rows = [json.loads(path.read_text()) for path in folder.glob("*/record.json")]
            longest = max([longest, *(row["deaths"] + 1 for row in rows if row["status"] == "running")])
            assert {row["status"] for row in rows} <= {"running", "interrupted", "finished"}
        child = sweep(*words, f"hydra.sweep.dir={folder}")
        assert child.wait() == 0, child.log.read_text()
        assert len(finished(folder)) == runs
    outcome(
        f"{kills} SIGKILLs of a basic sweep of {runs} runs within {latest} s of a run's beginning, {rounds} times",
        f"every run finished, none failed; up to {longest} deaths of a run in a row",
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["basic", "pool"])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_the_same_command_ends_the_sweep(
    sweep: Callable[..., Any], tiny: list[str], launcher: tuple[str, ...], signum: int, code: int
) -> None:
    words = [*tiny, *WORDS, *GRID, *launcher]
    straight = sweep(*words, "hydra.sweep.dir=straight")
    assert straight.wait() == 0, straight.log.read_text()
    folder = Path("cut")
    child = sweep(*words, f"hydra.sweep.dir={folder}", slow_disk=True)
    assert child.signal_when(lambda: len(finished(folder)) >= 2, signum) == code
    assert one_line(child.log.read_text()).startswith("imgrec: interrupted by SIG")
    done = finished(folder)
    statuses = {json.loads(path.read_text())["status"] for path in folder.glob("*/record.json")}
    assert statuses <= {"finished", "interrupted"}
    again = sweep(*words, f"hydra.sweep.dir={folder}")
    assert again.wait() == 0, again.log.read_text()
    now = finished(folder)
    assert {name: now[name] for name in done} == done
    assert len(now) == RUNS
    for name in now:
        assert_same_run(Path("straight") / name, folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["basic", "pool"])
@pytest.mark.parametrize(
    ("breaks", "reason"),
    [("1:raise ValueError('no')", "ValueError: no"), ("1:sys.exit(3)", "something in it called sys.exit(3)")],
    ids=["raises", "exits"],
)
def test_a_run_that_breaks_is_one_failure(
    sweep: Callable[..., Any], tiny: list[str], launcher: tuple[str, ...], breaks: str, reason: str
) -> None:
    words = [*tiny, "trainer.max_epochs=1", "seed=0,1,2", *launcher]
    child = sweep(*words, "hydra.sweep.dir=sweep", breaks=breaks)
    assert child.wait() == 1
    said = child.log.read_text()
    assert "1 of 3 runs failed; " in one_line(said)
    assert len(finished(Path("sweep"))) == 2
    (failed,) = Path("sweep").glob("*seed-1-*")
    (told,) = [line for line in said.splitlines() if line.startswith(f"failed: {failed}: ")]
    assert reason in told
    assert "Traceback" in (failed / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["basic", "pool"])
def test_a_disk_that_fills_costs_no_finished_run(
    sweep: Callable[..., Any], tiny: list[str], disk: Callable[..., Path], launcher: tuple[str, ...]
) -> None:
    small = disk("size=4m")
    words = [*tiny, "trainer.max_epochs=1", "seed=0,1,2,3", *launcher, f"hydra.sweep.dir={small}/sweep"]
    fill = f"2:open({str(small / 'filler')!r}, 'wb').write(bytes(4 << 20))"
    child = sweep(*words, breaks=fill)
    assert child.wait() == 1
    assert re.search("^failed: .*No space left on device", child.log.read_text(), re.MULTILINE)
    done = finished(small / "sweep")
    assert done
    (small / "filler").unlink()
    again = sweep(*words, "sweep.retry_failed=true")
    assert again.wait() == 0, again.log.read_text()
    now = finished(small / "sweep")
    assert {name: now[name] for name in done} == done
    assert len(now) == 4
