"""Test which program counts as the one that started this process."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import one_line

from imgrec import ranks
from imgrec.errors import Interrupted, UsageError
from imgrec.process_ends import Word, telling
from imgrec.ranks import Start
from imgrec.training.interruption import requeued_at_once

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "here",
    "MASTER_PORT": "29500",
}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_NNODES": "1"}
TORCHRUN_ON_TWO = TORCHRUN | {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "2"}
SRUN_ON_TWO = SRUN | {
    "SLURM_NNODES": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "gpu-[03,07-09],big[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}
SRUN_UNEVEN = SRUN_ON_TWO | {"SLURM_NTASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "3,1"}
NOBODY = Start()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCHRUN_ON_TWO, *SRUN_ON_TWO):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "start"),
    [
        (TORCHRUN, Start(by="torchrun", rank=1, local_rank=1, size=2, per_node=2, address="here", port=29500)),
        (TORCHRUN_ON_TWO, Start(by="torchrun", rank=1, size=2, nodes=2, address="here", port=29500)),
        ({key: value for key, value in TORCHRUN.items() if key != "TORCHELASTIC_RUN_ID"}, NOBODY),
        (TORCHRUN | {"MASTER_PORT": "any"}, NOBODY),
        (TORCHRUN | {"RANK": "2"}, NOBODY),
        (SRUN, Start(by="srun", rank=1, local_rank=1, size=2, per_node=2, port=18707)),
        (
            SRUN | {"MASTER_PORT": "5", "MASTER_ADDR": "elsewhere"},
            Start(by="srun", rank=1, local_rank=1, size=2, per_node=2, port=5),
        ),
        (SRUN_ON_TWO, Start(by="srun", rank=1, size=2, nodes=2, address="gpu-03", port=18707)),
        (
            SRUN_ON_TWO | {"SLURM_STEP_NODELIST": "r[1-2]n[01-10],x"},
            Start(by="srun", rank=1, size=2, nodes=2, address="r1n01", port=18707),
        ),
        (
            SRUN_ON_TWO | {"MASTER_ADDR": "named", "SLURM_STEP_TASKS_PER_NODE": "2,1"},
            Start(by="srun", rank=1, size=2, nodes=2, per_node=None, address="named", port=18707),
        ),
        (SRUN | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, NOBODY),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, NOBODY),
        ({key: value for key, value in SRUN.items() if key != "SLURM_STEP_ID"}, NOBODY),
        ({"LOCAL_RANK": "1"}, NOBODY),
        ({"LOCAL_RANK": "1", "IMGREC_STARTED_BY": "1"}, NOBODY),
    ],
)
def test_a_program_counts_by_all_of_its_variables_together(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], start: Start
) -> None:
    """The script of sbatch has no step, and a step of one task is no distributed run."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks.here() == start


@pytest.mark.parametrize(
    ("variables", "shape", "refusal"),
    [
        (
            TORCHRUN,
            (1, 1),
            "WORLD_SIZE=2 of torchrun, on 1 machine, must be trainer.devices=1 x trainer.num_nodes=1, as each process"
            " trains on one device of its machine; give --nnodes 1 --nproc-per-node 1, trainer=ddp trainer.devices=2"
            " trainer.num_nodes=1, or start imgrec without torchrun: it starts the processes of a run itself",
        ),
        (
            {name: "0" if "RANK" in name else "1" for name in TORCHRUN},
            (2, 1),
            "WORLD_SIZE=1 of torchrun, on 1 machine, must be trainer.devices=2 x trainer.num_nodes=1,",
        ),
        (SRUN, (4, 1), "SLURM_NTASKS=2 .+ trainer.devices=4 x .+; give --nodes 1 --ntasks 4 --ntasks-per-node 4, "),
        (SRUN_ON_TWO, (2, 1), "SLURM_NTASKS=2 of srun, on 2 machines, must .+ trainer.devices=1 trainer.num_nodes=2,"),
        (TORCHRUN, (1, 2), "on 1 machine, must be trainer.devices=1 x trainer.num_nodes=2, .+ trainer.num_nodes=1$"),
        (SRUN_UNEVEN, (2, 2), "on 2 machines, must .+; give --nodes 2 --ntasks 4 --ntasks-per-node 2$"),
        (TORCHRUN_ON_TWO | {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "3"}, (2, 2), "give --nnodes 2 --nproc-per-node 2"),
        ({}, (1, 2), "trainer.num_nodes=2 needs torchrun or srun, .+, or give trainer.num_nodes=1"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, (2, 1), "WORLD_SIZE must not be set, as imgrec starts the processes"),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, (1, 1), "OMPI_COMM_WORLD_SIZE must not be set"),
        ({"PMI_RANK": "1"}, (1, 1), "PMI_RANK must not be set"),
    ],
)
def test_other_numbers_of_processes_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], shape: tuple[int, int], refusal: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=refusal):
        ranks.refuse(*shape)


@pytest.mark.parametrize(
    ("variables", "shape"),
    [({}, (2, 1)), (TORCHRUN, (2, 1)), (SRUN, (2, 1)), (TORCHRUN_ON_TWO, (1, 2)), (SRUN_ON_TWO, (1, 2))],
)
def test_the_right_numbers_are_not_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], shape: tuple[int, int]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ranks.refuse(*shape)


def test_commands_of_one_process_are_refused_in_several(
    command: Callable[..., tuple[int, str, str]],
    tiny: list[str],
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    for words in (["train", "-m", *tiny, "seed=0,1"], ["verify", "run"], ["evaluate", "run"]):
        code, _, err = command(*words)
        assert code == 2
        assert re.match(r"imgrec: imgrec .+ needs one process, and srun has started 2; start it without", one_line(err))
    assert not Path("outputs").exists()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_only_the_first_process_requeues_the_job_and_says_that_it_was_interrupted(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    """SLURM sends the signal to all of them. Another one could requeue the job before the first has saved the run."""
    scontrol = workplace / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text('#!/bin/sh\necho "$@" >> requeued\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    for name, value in (SRUN | {"SLURM_PROCID": rank}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Interrupted), requeued_at_once():
        signal.raise_signal(signal.SIGUSR1)
    assert Path("requeued").exists() == (rank == "0")
    told = list[Word]()
    kind = Interrupted if rank == "0" else SystemExit
    with pytest.raises(kind) as raised, requeued_at_once(), telling(told.append):
        raise Interrupted(signal.SIGUSR1)
    assert [word.signum for word in told] == ([] if rank == "0" else [signal.SIGUSR1])
    assert rank == "0" or (isinstance(raised.value, SystemExit) and raised.value.code == 138)
