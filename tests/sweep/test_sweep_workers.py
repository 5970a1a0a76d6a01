"""Test launcher.per_gpu: processes of a pool that carry out several runs, one after the other."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_gpus
import pytest
from runs import assert_same_run, steps_logged
from waiting import wait_until

from imgrec import gpus, records
from imgrec.config.compose import compose
from imgrec.errors import UsageError
from imgrec.sweeps import mps, shares

SWEEP = Path("outputs/default")
ONE_WORKER = ["trainer.max_epochs=1", "launcher=pool", "launcher.per_gpu=1", "launcher.processes=1"]
SLOW_STEPS = "import time; from imgrec.training.progress import Speed; old = Speed.on_train_batch_end; " + (
    "Speed.on_train_batch_end = lambda self, *a: (old(self, *a), time.sleep(0.2))[0]"
)


def folder_of(seed: int, sweep: Path = SWEEP) -> Path:
    (folder,) = sweep.glob(f"*seed-{seed}-*")
    return folder


def results(folder: Path) -> tuple[dict[str, str], list[records.Score]]:
    record = records.read(folder / "record.json")
    return record.weights, record.scores


def statuses() -> dict[int, str]:
    rows = [json.loads(path.read_text()) for path in SWEEP.glob("*/record.json")]
    return {row["config"]["seed"]: row["status"] for row in rows}


def gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


@pytest.mark.long
def test_a_worker_carries_out_run_after_run_and_each_has_its_own_log(
    sweep: Callable[..., Any], tiny: list[str], undisturbed: Callable[..., Path]
) -> None:
    child = sweep(*tiny, *ONE_WORKER, "seed=0,1", breaks="0:print('held back', os.getpid(), os.getppid())")
    assert child.wait() == 0, child.log.read_text()
    first, second = folder_of(0), folder_of(1)
    assert "held back" in (first / "train.log").read_text()
    assert "held back" not in (second / "train.log").read_text()
    for seed in (0, 1):
        assert results(folder_of(seed)) == results(undisturbed("trainer.max_epochs=1", f"seed={seed}"))
    assert "shared" not in records.read(first / "record.json").environment


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        pytest.param("raise RuntimeError('of its own')", "RuntimeError: of its own", marks=pytest.mark.slow),
        pytest.param(
            "os.kill(os.getpid(), 9)",
            r"its process ended with SIGKILL without a word; see .*",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["error", "SIGKILL"],
)
def test_a_run_that_fails_takes_its_worker_along_and_no_other_run(
    sweep: Callable[..., Any], tiny: list[str], undisturbed: Callable[..., Path], breaks: str, reason: str
) -> None:
    child = sweep(*tiny, *ONE_WORKER, "seed=0,1,2", breaks=f"1:{breaks}")
    assert child.wait() == 1
    assert statuses() == {0: "finished", 1: "failed", 2: "finished"}
    assert re.search(f"^failed: .*seed-1-.*: {reason}$", child.log.read_text(), re.MULTILINE)
    assert results(folder_of(2)) == results(undisturbed("trainer.max_epochs=1", "seed=2"))


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_signal_to_the_sweep_saves_the_second_run_of_a_worker(
    sweep: Callable[..., Any], tiny: list[str], signum: int, code: int
) -> None:
    child = sweep(*tiny, *ONE_WORKER, "trainer.max_epochs=2", "seed=0,1", breaks=f"1:{SLOW_STEPS}")
    family: list[int] = []

    def training() -> bool:
        if statuses().get(1) != "running" or steps_logged(folder_of(1)) < 3:
            return False
        family.extend(child.family())
        return True

    assert child.signal_when(training, signum) == code
    for pid in family:
        wait_until(lambda pid=pid: gone(pid), log=child.log, patience=30)
    assert statuses() == {0: "finished", 1: "interrupted"}
    assert (folder_of(1) / "checkpoints/last.ckpt").exists()


@pytest.mark.slow
def test_sigterm_to_a_worker_interrupts_the_run_that_it_carries_out(sweep: Callable[..., Any], tiny: list[str]) -> None:
    asks = "import threading; threading.Timer(0.1, os.kill, (os.getpid(), 15)).start(); " + SLOW_STEPS
    child = sweep(*tiny, *ONE_WORKER, "seed=0,1,2", breaks=f"1:{asks}")
    assert child.wait() == 1
    assert statuses() == {0: "finished", 1: "interrupted", 2: "finished"}
    assert "a signal to its process alone interrupted it" in child.log.read_text()


COUNTING = """
import os
from imgrec import losses
from imgrec.components import Loss, register

logs = set()


@register("loss", "counting")
class Counting(Loss):
    "Cross entropy that is built by one run of a process, which its log tells."

    def build(self):
        logs.add(os.readlink("/proc/self/fd/1"))
        if len(logs) > 1:
            raise RuntimeError("an earlier run has left something behind")
        return losses.cross_entropy
"""


@pytest.mark.slow
def test_components_of_the_user_find_nothing_of_an_earlier_run(
    sweep: Callable[..., Any], tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "counting.py").write_text(COUNTING)
    monkeypatch.setenv("IMGREC_COMPONENTS", str(workplace / "counting.py"))
    child = sweep(*tiny, *ONE_WORKER, "loss=counting", "test=false", "seed=0,1")
    child.wait()
    said = [json.loads(path.read_text()) for path in SWEEP.glob("*/record.json")]
    assert [(each["status"], each["error"]) for each in said] == [("finished", None)] * 2, child.log.read_text()


# What a script needs to give runs to a worker itself.
_WORKER = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
from imgrec.sweeps import pool, worker
from imgrec.sweeps.jobs import Jobs
from imgrec.sweeps.shares import Share

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(pool._PRELOAD)
terms = worker.Terms(share=Share(threads=1), several=True)

def until_over(each):
    while not each.has_ended_run():
        time.sleep(0.05)
    return each.waits
"""


@pytest.mark.slow
def test_a_signal_between_two_runs_ends_the_worker_and_fails_no_run(python: Any, tiny: list[str]) -> None:
    python(
        f"{_WORKER}\n"
        f"jobs = [Jobs(Path('runs')).job([*{tiny}, 'trainer.max_epochs=1', f'seed={{seed}}']) for seed in (0, 1)]\n"
        "for signum, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -9)):\n"
        "    each = worker.Worker(context, jobs[0], terms)\n"
        "    assert until_over(each), each.word\n"
        "    os.kill(each._process.pid, signum)\n"
        "    each._process.join(20)\n"
        "    assert not each.waits and not each.take(jobs[1])\n"
        "    assert each.end() == code\n"
    )
    assert [path.name for path in Path("runs").glob("*/record.json")] == ["record.json"], "the second has not begun"


# Runs that leave different things behind: optimizers, dropout, an average, workers, threads, bfloat16, compiled code.
VARIED = [
    ["optimizer=sgd", "model.dropout=0.5"],
    ["optimizer=muon", "trainer.deterministic=false"],
    ["optimizer=adam", "trainer.threads=2", "trainer.ema_decay=0.9"],
    ["optimizer=adam", "trainer.precision=bf16-mixed"],
    ["optimizer=adam", "trainer.deterministic=true", "data.num_workers=1", "augment=cutmix"],
    ["optimizer=sgd", "trainer.threads=1", "loss=focal", "test_calibration=true"],
    ["optimizer=adam", "model.dropout=0.5", "trainer.accumulate=2", "schedule=cosine"],
    ["optimizer=sgd", "model.dropout=0.5"],
    ["optimizer=sgd", "trainer.compile=true"],
    ["optimizer=adam", "trainer.compile=true"],
]


@pytest.mark.slow
def test_a_later_run_of_a_worker_is_that_of_a_new_process_bit_for_bit(python: Any, tiny: list[str]) -> None:
    in_memory = ["data=digits", "trainer=cpu", "trainer.progress=none"]  # loaded once for both
    runs = [*([*tiny, *more] for more in VARIED), [*in_memory, "model.dropout=0.3"], [*in_memory, "optimizer=adamw"]]
    words = [[*run, "trainer.max_epochs=1", f"seed={seed}"] for seed, run in enumerate(runs)]
    python(
        f"{_WORKER}\n"
        "def all_of(folder):\n"
        f"    return [Jobs(Path(folder)).job(words) for words in {words}]\n"
        "several, *others = all_of('several')\n"
        "one = worker.Worker(context, several, terms)\n"
        "for job in [*others, None]:\n"
        "    assert until_over(one), one.word\n"
        "    assert job is None or one.take(job)\n"
        "one.end()\n"
        "for job in all_of('alone'):\n"
        "    fresh = worker.Worker(context, job, worker.Terms(share=Share(threads=1)))\n"
        "    assert not until_over(fresh) and fresh.end() == 0\n"
    )
    for seed in range(len(runs)):
        assert_same_run(folder_of(seed, Path("several")), folder_of(seed, Path("alone")))


@pytest.fixture
def shares_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[shares.Share]]:
    def divide(count: int, *words: str, name: str = "NVIDIA H200", visible: str | None = None) -> list[shares.Share]:
        fake_gpus.install(monkeypatch, tmp_path, *[name] * count, visible=visible)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
        monkeypatch.setattr("torch.get_num_threads", lambda: 8)
        config = compose(["launcher=pool", *words])
        launcher: Any = config.launcher
        return shares.shares([config] * 100, launcher.processes, launcher.per_gpu)

    return divide


def test_so_many_workers_share_each_gpu(shares_of: Callable[..., list[shares.Share]]) -> None:
    share = shares.Share
    assert shares_of(1, "launcher.per_gpu=2") == [share(threads=4, gpus=("0",), shared=2)] * 2
    two = shares_of(2, "launcher.per_gpu=2")
    assert [(each.gpus, each.shared) for each in two] == [(("0",), 2), (("1",), 2)] * 2
    assert shares_of(2, "launcher.per_gpu=1") == [share(threads=4, gpus=("0",)), share(threads=4, gpus=("1",))]
    three = shares_of(2, "launcher.per_gpu=2", "launcher.processes=3")
    assert [each.shared for each in three] == [2, 1, 2]
    assert len(shares_of(1, "launcher.per_gpu=2", "launcher.processes=5")) == 2, "no more than per_gpu"
    assert [each.shared for each in shares_of(1, "launcher.processes=3")] == [3] * 3, "without workers as well"
    assert shares_of(0, "launcher.per_gpu=3") == shares_of(0), "without a GPU as many as without workers"
    assert shares_of(2, "launcher.per_gpu=3", "trainer=cpu", "launcher.processes=2") == [share(threads=4)] * 2


def test_distributed_runs_are_refused(workplace: Path) -> None:
    with pytest.raises(UsageError, match=r"launcher\.per_gpu must be 0 .*got 2 with trainer\.devices=2; leave one"):
        compose(["launcher=pool", "launcher.per_gpu=2", "trainer=ddp", "trainer.devices=2"])


DAEMON = """#!/bin/sh
[ "$1" = -d ] && echo "start $CUDA_MPS_PIPE_DIRECTORY ${CUDA_VISIBLE_DEVICES-all}" >> "$MPS_STUB"
[ "$1" = -d ] && exit "$MPS_STARTS"
echo "$(cat) $CUDA_MPS_PIPE_DIRECTORY" >> "$MPS_STUB"
"""


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Put a program that writes down how it is called on the PATH; gives its notes."""

    def install(*, starts: int = 0) -> Path:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / mps.CONTROL).write_text(DAEMON)
        (tmp_path / "bin" / mps.CONTROL).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("MPS_STUB", str(tmp_path / "notes"))
        monkeypatch.setenv("MPS_STARTS", str(starts))
        return tmp_path / "notes"

    monkeypatch.delenv(mps.PIPES, raising=False)
    return install


def test_workers_of_a_gpu_use_mps_where_its_daemon_can_be_started(
    shares_of: Callable[..., list[shares.Share]], daemon: Callable[..., Path]
) -> None:
    notes, told = daemon(), list[str]()
    with mps.served(shares_of(1, "launcher.per_gpu=2", visible="0"), told.append) as variables:
        assert set(variables) == {"CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"}
        assert all(Path(place).is_dir() for place in variables.values())
    pipes = variables["CUDA_MPS_PIPE_DIRECTORY"]
    assert notes.read_text().splitlines() == [f"start {pipes} all", f"quit {pipes}"]
    assert not Path(pipes).parent.exists()
    assert told == []
    with mps.served(shares_of(1, "launcher.per_gpu=1"), told.append) as variables:
        assert variables == {}, "one worker has its GPU for itself"
    assert len(notes.read_text().splitlines()) == 2


@pytest.mark.long
def test_the_daemon_of_a_sweep_that_is_killed_ends_after_its_runs(
    shares_of: Callable[..., list[shares.Share]], daemon: Callable[..., Path], workplace: Path
) -> None:
    """Another daemon, of another sweep, goes on."""
    notes, told = daemon(), list[str]()
    parts = shares_of(1, "launcher.per_gpu=2")
    killed = (
        "import time\nfrom imgrec.sweeps import mps\nfrom imgrec.sweeps.shares import Share\nmps._GRACE = 0.5\n"
        "with mps.served([Share(threads=1, gpus=('0',), shared=2)], print) as variables:\n"
        "    print(variables['CUDA_MPS_PIPE_DIRECTORY'], flush=True)\n"
        "    time.sleep(600)\n"
    )
    with (
        mps.served(parts, told.append) as variables,
        subprocess.Popen([sys.executable, "-c", killed], stdout=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdout is not None
        pipes = child.stdout.readline().strip()
        child.kill()
        child.wait()
        wait_until(lambda: not Path(pipes).parent.exists())
        said = notes.read_text().splitlines()
        assert said[1:] == [f"start {pipes} all", f"quit {pipes}"]
        assert Path(variables["CUDA_MPS_PIPE_DIRECTORY"]).is_dir()
    assert notes.read_text().splitlines()[3:] == [f"quit {variables['CUDA_MPS_PIPE_DIRECTORY']}"]


@pytest.mark.parametrize(
    ("starts", "broken", "name", "reason"),
    [
        (None, 0, "NVIDIA H200", "nvidia-cuda-mps-control is not on the PATH"),
        (3, 0, "NVIDIA H200", "nvidia-cuda-mps-control ended with exit code 3: no reason"),
        (0, 805, "NVIDIA H200", "MPS client failed to connect"),
        (0, 0, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "it is left out on MIG instances"),
    ],
)
def test_without_mps_the_runs_take_turns_and_a_line_says_why(
    shares_of: Callable[..., list[shares.Share]],
    daemon: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    starts: int | None,
    broken: int,
    name: str,
    reason: str,
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if starts is not None:
        daemon(starts=starts)
    parts, told = shares_of(1, "launcher.per_gpu=2", name=name), list[str]()
    said = json.loads(os.environ["FAKE_DRIVER"])
    monkeypatch.setenv("FAKE_DRIVER", json.dumps({**said, "code": broken, "error": "MPS client failed to connect"}))
    with mps.served(parts, told.append) as variables:
        assert variables == {}
    (line,) = told
    assert line.startswith("the runs on a GPU take turns, without NVIDIA's MPS: ")
    assert reason in line


def test_each_worker_has_its_part_of_the_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []
    properties = type("Properties", (), {"total_memory": 16 << 30})
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda place: properties)
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", taken.append)
    for sharing in (2, 4, 16):
        gpus.limit_memory(sharing)
    assert taken == [1 / 2 - 1 / 16, 1 / 4 - 1 / 16, 1 / 32], "a context takes up to 1 GiB, of 16 here"
