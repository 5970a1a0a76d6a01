"""Test a small or read-only /dev/shm, dying workers and process limits: a slower run or one sentence, never a hang."""

import ctypes
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, one_line

from imgrec import sockets
from imgrec.data import batch_transport, workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps shared memory in /dev/shm")

BATCHES = ("trainer.max_epochs=2", "data.image_size=64", "data.batch_size=30", "data.prune=0.2")  # of 1.5 MB each
_OWN_MOUNTS, _PRIVATE = 0x20000, 0x44000  # CLONE_NEWNS; MS_REC | MS_PRIVATE


def mounted(options: str) -> Callable[[], None]:
    """What gives a process, and nobody else, another /dev/shm."""

    def mount() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(_OWN_MOUNTS) == 0, os.strerror(ctypes.get_errno())
        assert libc.mount(b"none", b"/", None, _PRIVATE, None) == 0, os.strerror(ctypes.get_errno())
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", "/dev/shm"], check=True)

    return mount


@pytest.fixture
def possible() -> None:
    """Skip where a process may have no mounts of its own."""
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")


@pytest.mark.parametrize(
    ("options", "count", "told"),
    [
        ("size=1m", 2, r"/dev/shm \(1.05 MB\) has no room for the batches of data.num_workers=2 .*through pipes"),
        ("size=4k", 2, r"/dev/shm \(4.1 kB\) cannot hold what data.num_workers=2 need: .* without workers"),
        pytest.param("ro", 2, r"/dev/shm \(.* GB\) cannot hold what .*: Read-only file system", marks=pytest.mark.slow),
        pytest.param("ro,size=4k", 0, None, marks=pytest.mark.slow),
    ],
)
@pytest.mark.long
def test_a_small_dev_shm_costs_speed_alone(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    outcome: Callable[[str, str], None],
    possible: None,
    options: str,
    count: int,
    told: str | None,
) -> None:
    words = [*tiny, *BATCHES, f"data.num_workers={count}", "hydra.run.dir=run"]
    child = imgrec("train", *words, before=mounted(options))
    assert child.wait() == 0, child.log.read_text()
    said = child.log.read_text()
    lines = [line for line in said.splitlines() if "/dev/shm" in line]
    assert "Traceback" not in said
    assert len(lines) == (told is not None), said
    assert told is None or re.search(told, lines[0]), said
    assert_same_run(undisturbed(*BATCHES), workplace / "run")
    outcome(f"/dev/shm with {options}, data.num_workers={count}", lines[0] if lines else "the run, as ever")


@pytest.mark.long
def test_a_temporary_folder_too_long_for_sockets_costs_speed_alone_and_a_pool_refuses_it(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    tmp_path: Path,
    workplace: Path,
    outcome: Callable[[str, str], None],
) -> None:
    long = tmp_path / ("x" * sockets.LONGEST)
    long.mkdir()

    def move() -> None:
        os.environ["TMPDIR"], tempfile.tempdir = str(long), None

    child = imgrec("train", *tiny, *BATCHES, "data.num_workers=1", "hydra.run.dir=run", before=move)
    assert child.wait() == 0, child.log.read_text()
    (line,) = (line for line in child.log.read_text().splitlines() if "TMPDIR" in line)
    assert (
        f"at most 70 bytes for data.num_workers=1, whose processes meet in sockets there, got {long}; batches" in line
    )
    assert_same_run(undisturbed(*BATCHES), workplace / "run")
    outcome("TMPDIR of more than 70 bytes, data.num_workers=1", line)
    child = imgrec("train", "-m", *tiny, "seed=0,1", "launcher=pool", before=move)
    assert child.wait() == 2
    said = one_line(child.log.read_text())
    assert said.startswith("imgrec: TMPDIR must be a path of at most 70 bytes for launcher=pool")
    outcome("TMPDIR of more than 70 bytes, launcher=pool", said)
    assert not Path("outputs").exists()


@pytest.mark.parametrize("end", [pytest.param(signal.SIGBUS, marks=pytest.mark.slow), signal.SIGKILL])
def test_a_worker_that_dies_ends_the_run_in_one_sentence(
    tiny: list[str], imgrec: Callable[..., Any], outcome: Callable[[str, str], None], end: signal.Signals
) -> None:
    def dies() -> None:
        from imgrec.data.loader import TrainBatches

        made = TrainBatches.__getitem__

        def one_dies(self: TrainBatches, key: tuple[int, int]) -> Any:
            if key == (0, 3):
                os.kill(os.getpid(), end)
            return made(self, key)

        TrainBatches.__getitem__ = one_dies  # type: ignore[method-assign]

    child = imgrec("train", *tiny, "trainer.max_epochs=1", "data.num_workers=2", "hydra.run.dir=run", before=dies)
    assert child.wait() == 1
    said = one_line(child.log.read_text())
    assert "a process that prepares batches must live as long as the run, got: DataLoader worker (pid" in said
    assert "; lower data.num_workers, now 2, " in said
    outcome(f"a worker ends by {end.name}", said)


def test_a_limit_on_processes_is_a_sentence() -> None:
    for error in (
        BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
        RuntimeError("can't start new thread"),
    ):
        said = str(workers.told(error, 8))
        assert re.match(r"no more processes or threads may be started here \(ulimit -u: -?\d+\), got: ", said)
        assert said.endswith("; lower data.num_workers, now 8, or raise the limit")
    assert workers.told(OSError(errno.ENOSPC, "full"), 8) is None
    assert workers.told(RuntimeError("shapes cannot be multiplied"), 8) is None


@pytest.mark.slow
def test_a_limit_on_processes_is_told_of(tiny: list[str], workplace: Path, outcome: Callable[[str, str], None]) -> None:
    """Root has no such limit, so the run belongs to another user, who may read everything."""
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("another user can be played by root only")
    somebody = ["setpriv", "--reuid=65534", "--inh-caps=+dac_override,+chown", "--ambient-caps=+dac_override,+chown"]
    words = [*tiny, "trainer.max_epochs=1", "data.num_workers=2", "hydra.run.dir=run"]
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)); from imgrec.cli import main; main()"
    )
    done = subprocess.run([*somebody, sys.executable, "-c", limited, "train", *words], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    said = one_line(done.stderr)
    assert "no more processes or threads may be started here (ulimit -u: 1), got: " in said
    outcome("a limit of one process, data.num_workers=2", said)


def test_zeros_are_shared_with_processes_that_are_forked_later() -> None:
    shared = batch_transport.zeros(3, torch.int64)
    child = os.fork()
    if child == 0:
        shared[1] = 7
        os._exit(0)
    os.waitpid(child, 0)
    assert shared.tolist() == [0, 7, 0]
    assert batch_transport.zeros(0, torch.bool).tolist() == []
