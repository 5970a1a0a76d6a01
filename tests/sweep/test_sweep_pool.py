"""Test launcher=pool: several runs at a time, in processes that may die."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_gpus
import pytest
from runs import steps_logged
from waiting import wait_until

from imgrec import records
from imgrec.config.compose import compose
from imgrec.errors import RunError
from imgrec.job import Job
from imgrec.sweeps import pool, shares
from imgrec.sweeps.launchers.pool import Pool
from imgrec.sweeps.run import Sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes there are")

SWEEP = Path("outputs/default")
SLOW_STEPS = "import time; from imgrec.training.progress import Speed; old = Speed.on_train_batch_end; " + (
    "Speed.on_train_batch_end = lambda self, *a: (old(self, *a), time.sleep(0.2))[0]"
)


def statuses() -> dict[int, str]:
    rows = [json.loads(path.read_text()) for path in SWEEP.glob("*/record.json")]
    return {row["config"]["seed"]: row["status"] for row in rows}


def without_pool(words: list[str]) -> list[str]:
    return [word for word in words if not word.startswith("launcher")]


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() and "Z" not in state(pid) for pid in pids)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.long
def test_a_process_that_dies_hard_is_a_failed_run_and_the_others_end_as_in_one_process(
    sweep: Callable[..., Any], tiny: list[str]
) -> None:
    words = [*tiny, "trainer.max_epochs=2", "seed=0,1,2,3", "launcher=pool", "launcher.processes=2"]
    child = sweep(*words, breaks="2:os._exit(0)")
    assert child.wait() == 1
    said = child.log.read_text()
    assert statuses() == {0: "finished", 1: "finished", 2: "failed", 3: "finished"}
    assert re.search("^failed: .*: its process ended with exit code 0 without a word; see outputs/", said, re.MULTILINE)
    again = sweep(*without_pool(words), "sweep.retry_failed=true")  # any launcher goes on with what another left
    assert again.wait() == 0, again.log.read_text()
    assert "4 runs: 3 finished, 1 to retry" in again.log.read_text()
    assert again.log.read_text().count("] running ") == 1

    alone = Sweep([*tiny, "trainer.max_epochs=2", "seed=0,1,2,3", "hydra.sweep.dir=alone"])
    alone.run()
    assert len(alone.outcomes) == 4
    for folder, record in alone.outcomes:
        other = records.read(SWEEP / folder.name / "record.json")
        assert (record.weights, record.scores) == (other.weights, other.scores)


@pytest.mark.parametrize(
    ("signum", "code", "group"),
    [
        pytest.param(signal.SIGTERM, 143, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, False, marks=pytest.mark.slow),
    ],
    ids=["SIGTERM", "SIGTERM-to-all", "SIGINT", "SIGKILL"],
)
def test_a_signal_saves_the_runs_and_leaves_no_process(
    sweep: Callable[..., Any], tiny: list[str], workplace: Path, signum: int, code: int, group: bool
) -> None:
    words = [*tiny, "trainer.max_epochs=3", "seed=0,1", "launcher=pool", "launcher.processes=2"]
    child = sweep(*words, breaks=f"0:{SLOW_STEPS}")
    family: list[int] = []

    def training() -> bool:
        (running,) = SWEEP.glob("*seed-0-*") if SWEEP.exists() and list(SWEEP.glob("*seed-0-*")) else (None,)
        if running is None or steps_logged(running) < 3:
            return False
        family.extend(child.family())
        return True

    assert child.signal_when(training, signum, group=group) == code
    assert len(family) >= 3
    wait_until(lambda: gone(family), log=child.log, patience=20)
    assert statuses()[0] == "interrupted"
    (cut,) = SWEEP.glob("*seed-0-*")
    assert (cut / "checkpoints/last.ckpt").exists(), "saved at the step that it was in"
    again = sweep(*without_pool(words))  # any launcher goes on with what another left
    assert again.wait() == 0, again.log.read_text()
    assert set(statuses().values()) == {"finished"}
    assert "to resume" in again.log.read_text()


@pytest.mark.parametrize("delay", [0.0, pytest.param(1.5, marks=pytest.mark.slow)])
@pytest.mark.long
def test_a_signal_while_processes_start_loses_nothing_and_fails_nothing(
    sweep: Callable[..., Any], tiny: list[str], delay: float
) -> None:
    words = [*tiny, "trainer.max_epochs=1", "seed=0,1", "launcher=pool", "launcher.processes=2"]
    child = sweep(*words)

    def locked() -> bool:
        if not (SWEEP / "sweep.lock").exists():
            return False
        time.sleep(delay)
        return True

    assert child.signal_when(locked, signal.SIGINT, group=True) == 130, child.log.read_text()
    assert "failed" not in child.log.read_text()
    assert set(statuses().values()) <= {"interrupted", "finished"}


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 143])
def test_an_exit_code_proves_nothing(sweep: Callable[..., Any], tiny: list[str], code: int) -> None:
    words = [*tiny, "trainer.max_epochs=1", "seed=0,1", "launcher=pool", "launcher.processes=1"]
    child = sweep(*words, breaks=f"0:os._exit({code})")
    assert child.wait() == 1
    assert f": its process ended with exit code {code} without a word; see " in child.log.read_text()
    assert statuses() == {0: "failed", 1: "finished"}


@pytest.fixture
def shares_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[shares.Share]]:
    def divide(
        gpus: int | str, cores: int, *words: str, runs: int = 100, threads: int = 0, visible: str | None = None
    ) -> list[shares.Share]:
        names = [gpus] if isinstance(gpus, str) else ["NVIDIA H200"] * gpus
        fake_gpus.install(monkeypatch, tmp_path, *names, visible=visible)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        monkeypatch.setattr("torch.get_num_threads", lambda: threads or cores)
        config = compose(["launcher=pool", *words])
        assert isinstance(config.launcher, Pool)
        return shares.shares([config] * runs, config.launcher.processes)

    return divide


@pytest.mark.long
def test_the_machine_is_divided_by_gpus_and_else_by_cores(shares_of: Callable[..., list[shares.Share]]) -> None:
    share = shares.Share
    assert shares_of(0, 8) == [share(threads=1)] * 8
    assert shares_of(0, 8, "launcher.processes=2") == [share(threads=4)] * 2
    assert shares_of(0, 8, "launcher.processes=1") == [share(threads=8)]
    assert shares_of(0, 8, "launcher.processes=2", threads=3) == [share(threads=3)] * 2, "OMP_NUM_THREADS"
    assert shares_of(0, 8, runs=3) == [share(threads=2)] * 3, "no more than there are runs"
    assert shares_of(0, 2, "launcher.processes=3") == [share(threads=1)] * 3
    assert shares_of(2, 8) == [share(threads=4, gpus=("0",)), share(threads=4, gpus=("1",))]
    pairs = shares_of(4, 16, "trainer=ddp", "trainer.devices=2")
    assert pairs == [share(threads=4, gpus=("0", "1")), share(threads=4, gpus=("2", "3"))]
    doubled = shares_of(2, 8, "launcher.processes=4")
    assert [each.gpus for each in doubled] == [("0",), ("1",), ("0",), ("1",)]
    assert shares_of(2, 8, "trainer=cpu") == [share(threads=1)] * 8


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("2, 0", [("2",), ("0",)]), ("1,-1,0", [("1",)]), ("GPU-b,GPU-a", [("GPU-b",), ("GPU-a",)]), ("", [()] * 8)],
)
def test_processes_have_gpus_as_cuda_reads_their_names(
    shares_of: Callable[..., list[shares.Share]], visible: str, gpus: list[tuple[str, ...]]
) -> None:
    assert [share.gpus for share in shares_of(3, 8, visible=visible)] == gpus


def test_a_process_has_one_mig_instance_at_most(shares_of: Callable[..., list[shares.Share]]) -> None:
    mig, visible = "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "MIG-GPU-5c2a/7/0,MIG-11aa"
    assert [share.gpus for share in shares_of(mig, 8, visible=visible)] == [("MIG-GPU-5c2a/7/0",), ("MIG-11aa",)]
    with pytest.raises(RunError, match=r"trainer\.devices must be 1 on a MIG instance"):
        shares_of(mig, 8, "trainer=ddp", visible=visible)


TWO_RUNS = ["trainer.accelerator=auto", "trainer.max_epochs=1", "seed=0,1"]

# For the processes of a pool: CUDA shows the GPU that each was given, but for those of FAKE_BROKEN. The CPU trains, and
# records name the GPU.
_CUDA = """
import types

on_import = patch

def patch(module):
    on_import(module)
    import torch
    from imgrec.training import lightning_trainer

    def init():
        if os.environ["CUDA_VISIBLE_DEVICES"] in os.environ["FAKE_BROKEN"].split():
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered\\nCUDA kernel errors might be")

    torch.cuda.init = init
    torch.cuda.device_count = lambda: int(sys._getframe(1).f_code.co_name in ("check_given", "found"))
    torch.version.cuda = "13.0"
    torch.cuda.get_device_name = lambda place: "NVIDIA H200"
    torch.cuda.get_device_properties = lambda place: types.SimpleNamespace(total_memory=16 << 30)
    torch.cuda.set_per_process_memory_fraction = lambda fraction: print(f"memory: {fraction:.4f}", flush=True)
    torch.backends.cudnn.version = lambda: 90100
    of_device = module.of_device
    module.of_device = lambda device, **words: of_device(torch.device("cuda", 0), **words)
    lightning_trainer._accelerator = lambda asked: "cpu"
"""


@pytest.fixture
def two_gpus(
    sweep: Callable[..., Any], tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """`two_gpus(breaks=..., broken="0 1")`: a sweep of two runs over GPU 0 and GPU 1, some of which may be broken.

    seeds: those of the runs, in place of 0,1.
    """
    fake_gpus.install(monkeypatch, workplace, "NVIDIA H200", "NVIDIA H200")
    with (workplace / "site" / "sitecustomize.py").open("a") as file:
        file.write(_CUDA + fake_gpus.DRIVER)

    def start(*words: str, breaks: str, broken: str = "", seeds: str = "0,1") -> Any:
        monkeypatch.setenv("FAKE_BROKEN", broken)
        return sweep(*tiny, *TWO_RUNS[:-1], f"seed={seeds}", "launcher=pool", *words, breaks=breaks)

    return start


@pytest.mark.parametrize("per_gpu", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.long
def test_a_broken_gpu_is_set_aside_and_its_run_goes_on_with_another(two_gpus: Callable[..., Any], per_gpu: int) -> None:
    busy = "CUDA error: CUDA-capable device(s) is/are busy or unavailable"
    child = two_gpus(
        f"launcher.per_gpu={per_gpu}",
        breaks=f"0:if os.environ['CUDA_VISIBLE_DEVICES'] == '1': raise RuntimeError('{busy}')",
    )
    assert child.wait() == 0, child.log.read_text()
    said = child.log.read_text()
    assert statuses() == {0: "finished", 1: "finished"}
    assert re.search(rf"\] given back  .*seed-0.*: GPU 1 cannot be used and is set aside: {re.escape(busy)}", said)
    assert "failed" not in said
    assert said.count("] running ") == 3


@pytest.mark.slow
def test_workers_share_a_gpu_and_one_that_dies_loses_its_run_alone(
    two_gpus: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    child = two_gpus("launcher.per_gpu=2", breaks="1:os._exit(7)", seeds="0,1,2,3")
    assert child.wait() == 1
    said = child.log.read_text()
    assert statuses() == {0: "finished", 1: "failed", 2: "finished", 3: "finished"}, said
    assert said.count("] running ") == 4
    assert said.count("its process ended with exit code 7 without a word") == 2, "when it happens, and in the end"
    for path in SWEEP.glob("*/record.json"):
        record = records.read(path)
        assert (path.parent / "train.log").read_text().count("memory: 0.4375") == 1, "its part of 16 GiB, once"
        if record.status == "finished":
            assert (record.environment["device"], record.environment["shared"]) == ("NVIDIA H200", 2)


@pytest.mark.slow
def test_a_sweep_without_a_gpu_that_works_ends_and_goes_on_later(
    two_gpus: Callable[..., Any], tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = two_gpus(breaks="9:pass", broken="0 1")
    assert child.wait() == 1
    said = child.log.read_text()
    reason = "CUDA cannot use it, got: CUDA error: uncorrectable ECC error encountered"
    assert f"no GPU is left for the sweep, whose runs need one (GPU 0: {reason}; GPU 1: {reason})" in said
    assert said.splitlines()[-2] == "2 runs: 2 to do"
    assert statuses() == {}
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    Sweep([*tiny, *TWO_RUNS]).run()
    assert statuses() == {0: "finished", 1: "finished"}


@pytest.mark.parametrize("status", ["interrupted", "failed"])
@pytest.mark.long
def test_a_record_of_an_earlier_process_says_nothing_about_one_that_died_before_its_run_began(
    finished: Path, status: str
) -> None:
    record = records.read(finished / "record.json")
    record.status, record.error = status, "RunError: an older reason"
    records.write(finished / "record.json", record)
    config = compose(["data=digits"])
    job = Job(config=config, folder=finished, run_id=record.run_id, fingerprint=record.fingerprint, command=())
    place: Any = SimpleNamespace(leave=lambda: -signal.SIGKILL)
    worker: Any = SimpleNamespace(word=None, waits=False)
    told: list[str] = []
    watch: Any = SimpleNamespace(stop=False, ended=lambda job, reason: told.append(reason), cut=None)
    pool._end(pool._Running(job=job, place=place, worker=worker, before=job.record()), watch)
    assert told == [f"its process ended with SIGKILL without a word; see {finished / 'train.log'}"]
