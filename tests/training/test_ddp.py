"""Test two processes with averaged gradients, on the CPU."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from runs import assert_same_run, one_line, state

from imgrec import ddp_processes, launch, runfolder
from imgrec.cores import cores
from imgrec.errors import RunError, UsageError


@pytest.mark.long
def test_two_processes_train_as_one_with_the_batches_of_both(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    """They also leave out the same images in the third epoch."""
    words = [*tiny, "optimizer=sgd", "optimizer.lr=0.1", "data.prune=0.4", "trainer.max_epochs=3"]  # 60 images
    one = imgrec("train", *words, "data.batch_size=12", "hydra.run.dir=one")
    assert one.wait() == 0, one.log.read_text()
    two = imgrec("train", *words, "trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=6", "hydra.run.dir=two")
    assert two.wait() == 0, two.log.read_text()
    for said in ("60 + 12 + 12 images", "finished:", "from epoch 3 on without the easiest 24 of 60"):
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_that_leaves_its_threads_to_the_machine_is_repeated_with_the_same(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    words = [*(word for word in tiny if not word.startswith("trainer.threads")), *_DDP, "trainer.max_epochs=1"]
    assert imgrec("train", *words, "hydra.run.dir=run").wait() == 0
    noted = json.loads(Path("run/record.json").read_text())["environment"]["threads"]
    assert noted == max(1, cores() // 2)
    monkeypatch.setenv("OMP_NUM_THREADS", str(noted + 2))
    child = imgrec("verify", "run")
    assert child.wait() == 0, child.log.read_text()
    assert "bit-equal" in child.log.read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler for CPUs needs g++")
def test_a_signal_to_a_run_that_compiles_ends_both_at_once(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    child = imgrec("train", *tiny, *_DDP, "trainer.compile=true", "hydra.run.dir=run")
    log = workplace / "run/train.log"
    code = child.signal_when(lambda: log.is_file() and "compiling" in log.read_text(), signal.SIGTERM)
    ended = time.time()
    assert code == 143, child.log.read_text()
    assert runfolder.record_of(Path("run")).status == "interrupted"
    assert ended - log.stat().st_mtime < ddp_processes.GRACE / 2, "as compiling began when the log was last written"


_BREAKS = """
import os
import signal

from lightning.pytorch.callbacks import Callback as LightningCallback

from imgrec.components import Callback, register, setting


@register("callback", "breaks")
class Breaks(Callback):
    \"""End the second process after three steps.\"""

    how: str = setting("raises", "raises, or killed", identity=False)

    def build(self):
        return Break(self.how)


class Break(LightningCallback):
    def __init__(self, how):
        self.how = how

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_rank == 1 and trainer.global_step == 3 and not os.path.exists("mended"):
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("no third step")
"""
_REASON = "breaks.py, line 28: callback=breaks raised ValueError: no third step; mend it there"
_REASON += " (IMGREC_DEBUG=1 shows the traceback)"
_DDP = ("trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4", "trainer.max_epochs=1")


@pytest.fixture
def breaking(workplace: Path) -> list[str]:
    """Words of a run with a component that ends the second process."""
    (workplace / "breaks.py").write_text(_BREAKS)
    return ["--components", "breaks.py", "callbacks=[breaks]", *_DDP]


@pytest.fixture
def several(imgrec: Callable[..., Any]) -> Callable[..., list[tuple[int, str]]]:
    """Start a command in two processes with the variables of srun or torchrun; gives their exit codes and texts."""

    def run(by: str, *words: str, nodes: int = 1) -> list[tuple[int, str]]:
        port, each = str(find_free_network_port()), str(2 // nodes)

        def arrange(rank: int) -> None:
            told, local = {"MASTER_PORT": port, "MASTER_ADDR": "localhost"}, str(rank // nodes)
            if by == "srun":
                told |= {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": str(rank), "SLURM_LOCALID": local}
                told |= {"SLURM_STEP_NUM_NODES": str(nodes)}
            else:
                told |= {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": local}
                told |= {"LOCAL_WORLD_SIZE": each, "GROUP_WORLD_SIZE": str(nodes)}
            os.environ.update(told)

        processes = [imgrec(*words, before=functools.partial(arrange, rank)) for rank in (0, 1)]
        return [(each.wait(), each.log.read_text()) for each in processes]

    return run


_ON_TWO = ("trainer.devices=1", "trainer.num_nodes=2")


@pytest.mark.long
def test_processes_on_two_machines_train_one_run_and_wrong_numbers_are_refused(
    tiny: list[str], several: Callable[..., list[tuple[int, str]]], imgrec: Callable[..., Any]
) -> None:
    words = ["train", *tiny, *_DDP, *_ON_TWO, "hydra.run.dir=run"]
    alone = imgrec(*words)
    assert alone.wait() == 2
    assert one_line(alone.log.read_text()).startswith("imgrec: trainer.num_nodes=2 needs torchrun or srun, as imgrec")
    (code, text), others = several("torchrun", *words)
    assert (code, others) == (2, (0, "")), "one sentence"
    way_out = "give --nnodes 2 --nproc-per-node 1, trainer=ddp trainer.devices=2 trainer.num_nodes=1"
    assert one_line(text).startswith("imgrec: WORLD_SIZE=2 of torchrun, on 1 machine, must be trainer.devices=1 x")
    assert one_line(text).endswith(way_out)
    assert not Path("run").exists()
    (code, text), others = several("srun", *words, nodes=2)
    assert (code, others[0]) == (0, 0), text + others[1]
    assert text.count("finished:") == 1
    assert "finished" not in others[1], "one process speaks"
    record = runfolder.record_of(Path("run"))
    assert record.progress["steps"] == 8, "60 images, 8 a step: both processes trained"
    assert record.environment["device"] == record.environment["cpu"]
    assert record.environment["devices"] == [f"2 x {record.environment['cpu']}"]
    (code, text), others = several("torchrun", *words, nodes=2)
    assert (code, others) == (0, (0, "")), "another process waits, and nothing is to be trained"
    assert "finished already" in text


@pytest.mark.slow
def test_processes_of_srun_and_torchrun_train_the_run_that_imgrec_trains_by_itself(
    tiny: list[str],
    imgrec: Callable[..., Any],
    several: Callable[..., list[tuple[int, str]]],
    breaking: list[str],
    workplace: Path,
) -> None:
    """The run without them is the second one in its process, whose first one failed as its other process did."""

    def fail() -> None:
        from imgrec.config import outside

        outside.load(["breaks.py"])
        with pytest.raises(RunError) as raised:
            launch.train([*tiny, *breaking[2:], "hydra.run.dir=failed"])
        reason = f"process 1 of the run failed: {_REASON}"
        assert str(raised.value) == reason
        record = runfolder.record_of(Path("failed"))
        assert (record.status, record.error) == ("failed", f"RunError: {reason}")

    own = imgrec("train", *tiny, *_DDP, "hydra.run.dir=own", before=fail)
    assert own.wait() == 0, own.log.read_text()
    weights = runfolder.record_of(Path("own")).weights
    for by in ("srun", "torchrun"):
        (code, text), others = several(by, "train", *tiny, *_DDP, f"hydra.run.dir={by}")
        assert (code, others[0]) == (0, 0), text + others[1]
        assert text.count("finished:") == 1
        assert "finished" not in others[1], "one process speaks"
        assert runfolder.record_of(Path(by)).weights == weights
        words = (*_ON_TWO, f"hydra.run.dir={by}2")
        (code, text), others = several(by, "train", *tiny, *_DDP, *words, nodes=2)
        assert (code, others[0]) == (0, 0), text + others[1]
        assert runfolder.record_of(Path(f"{by}2")).weights == weights


@pytest.mark.slow
def test_a_lost_process_interrupts_the_run_and_a_failing_one_gives_the_reason(
    tiny: list[str], several: Callable[..., list[tuple[int, str]]], breaking: list[str]
) -> None:
    """The processes are srun's. The same command goes on with the interrupted run."""
    words = ["train", *tiny, *breaking, "hydra.run.dir=run"]
    (code, text), (other, said) = several("srun", *words)
    record = runfolder.record_of(Path("run"))
    assert (code, other, record.status) == (1, 1, "failed")
    assert one_line(text) == f"imgrec: process 1 of the run failed: {_REASON}"
    assert "imgrec: " not in said, "the first process says it"
    (code, text), (other, _) = several("srun", *words, "callback.breaks.how=killed")
    record = runfolder.record_of(Path("run"))
    assert (code, other, record.status) == (137, -9, "interrupted")
    log = Path("run/train.log").absolute()
    how = f"process 1 of the run ended without a word; srun tells of its end, and its log is {log}"
    assert one_line(text) == f"imgrec: {how}; the same command goes on from the last checkpoint"
    assert record.error == f"LostProcess: {how}"
    Path("mended").touch()
    (code, text), (other, _) = several("srun", *words)
    assert (code, other, runfolder.record_of(Path("run")).status) == (0, 0, "finished"), text


def test_a_program_s_own_process_group_is_refused_and_left_alone(tiny: list[str]) -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(UsageError, match=r"a run must begin without a process group .+ one of 1; end it first"):
            launch.train([*tiny, "hydra.run.dir=run"])
        assert torch.distributed.is_initialized()
    finally:
        torch.distributed.destroy_process_group()
    assert not Path("run").exists()


@pytest.mark.slow
def test_torchrun_itself_starts_the_processes_of_one_run(tiny: list[str], breaking: list[str], workplace: Path) -> None:
    """Torchrun ends the first process soon after the second, whose reason is told before."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "imgrec"]

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run([*torchrun, "train", *tiny, *words], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, text = run(*_DDP, "hydra.run.dir=run")
    assert (code, text.count("finished:")) == (0, 1), text
    assert runfolder.record_of(Path("run")).progress["steps"] == 8, "60 images, 8 a step: both processes trained"
    code, text = run("hydra.run.dir=one")
    assert code == 1
    assert text.count("imgrec: WORLD_SIZE=2 of torchrun, on 1 machine, must be trainer.devices=1 x") == 1
    for how, status, reason in (
        ("raises", "failed", f"process 1 of the run failed: {_REASON}"),
        ("killed", "interrupted", "process 1 of the run ended without a word; torchrun tells of its end"),
    ):
        code, text = run(*breaking, f"callback.breaks.how={how}", f"hydra.run.dir={how}")
        record = runfolder.record_of(Path(how))
        assert (code, record.status) == (1, status), text
        assert reason in text
        assert reason in str(record.error)


@pytest.mark.slow
def test_srun_itself_starts_the_processes_of_one_run(tiny: list[str], breaking: list[str]) -> None:
    if shutil.which("srun") is None or subprocess.run(["srun", "--immediate=20", "-n2", "true"]).returncode:
        pytest.skip("srun starts no step of two tasks here (SLURM_CONF names a cluster)")

    def run(*words: str) -> tuple[int, str]:
        command = ["srun", "--nodes=1", "--ntasks=2", sys.executable, "-m", "imgrec", "train", *tiny, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    words = (*breaking, "callback.breaks.how=killed", "hydra.run.dir=run")
    code, text = run(*words)
    assert (code, runfolder.record_of(Path("run")).status) == (137, "interrupted"), text
    assert text.count("imgrec: process 1 of the run ended without a word; srun tells of its end") == 1
    Path("mended").touch()
    code, text = run(*words)
    assert (code, text.count("finished:")) == (0, 1), text
    assert runfolder.record_of(Path("run")).progress["steps"] == 8, "60 images, 8 a step: both processes trained"
