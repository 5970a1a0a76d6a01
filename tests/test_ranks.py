"""Test which program counts as the one that started this process."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import one_line

from imgrec import ranks
from imgrec.errors import UsageError
from imgrec.ranks import Start

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
NOBODY = Start()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "start"),
    [
        (TORCHRUN, Start(by="torchrun", rank=1, size=2, address="here", port=29500)),
        (
            TORCHRUN | {"LOCAL_WORLD_SIZE": "1"},
            Start(by="torchrun", rank=1, size=2, nodes=2, address="here", port=29500),
        ),
        ({key: value for key, value in TORCHRUN.items() if key != "TORCHELASTIC_RUN_ID"}, NOBODY),
        (TORCHRUN | {"MASTER_PORT": "any"}, NOBODY),
        (TORCHRUN | {"RANK": "2"}, NOBODY),
        (SRUN, Start(by="srun", rank=1, size=2, port=18707)),
        (SRUN | {"MASTER_PORT": "5"}, Start(by="srun", rank=1, size=2, port=5)),
        (SRUN | {"SLURM_NNODES": "2"}, Start(by="srun", rank=1, size=2, nodes=2, port=18707)),
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
    ("variables", "devices", "refusal"),
    [
        (
            TORCHRUN,
            1,
            "WORLD_SIZE=2 of torchrun must be trainer.devices=1, as each process trains on one device; give"
            " --nproc-per-node 1, trainer=ddp trainer.devices=2, or start imgrec without torchrun: it starts the"
            " processes of a run itself",
        ),
        (
            {name: "0" if "RANK" in name else "1" for name in TORCHRUN},
            2,
            "WORLD_SIZE=1 of torchrun must be trainer.devices=2",
        ),
        (SRUN, 4, "SLURM_NTASKS=2 of srun must be trainer.devices=4.*; give --ntasks 4, "),
        (SRUN | {"SLURM_NNODES": "2"}, 2, "the processes of a run must be on one machine, and srun has started 2 on 2"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, 2, "WORLD_SIZE must not be set, as imgrec starts the processes"),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, 1, "OMPI_COMM_WORLD_SIZE must not be set"),
        ({"PMI_RANK": "1"}, 1, "PMI_RANK must not be set"),
    ],
)
def test_other_numbers_of_processes_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], devices: int, refusal: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=refusal):
        ranks.refuse(devices)


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
