"""Determine which program started this process as one of several, and the process' rank. Imports no torch.

Three programs start the processes of a distributed run: imgrec's own first process, torchrun, and SLURM's srun. Each
is recognised by all of its variables together. Single ones, such as a LOCAL_RANK that a shell exports, are refused
where they claim another process than the first, as no program then says who the other processes are.
"""

import functools
import os
import re
from dataclasses import dataclass
from typing import Literal

from imgrec.errors import UsageError

ADDRESS = "127.0.0.1"  # where all processes of a run are on this machine
STARTED_BY, LOCAL_RANK, PORT = "IMGREC_STARTED_BY", "LOCAL_RANK", "MASTER_PORT"
# variables by which other programs give a process its rank, and the number of processes; Lightning would use some
_RANKS = (
    *(LOCAL_RANK, "NODE_RANK", "GROUP_RANK", "RANK"),
    *("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "JSM_NAMESPACE_RANK"),
)
_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "JSM_NAMESPACE_SIZE")
_ADDRESS = "MASTER_ADDR"
_STORE = "TORCHELASTIC_USE_AGENT_STORE"  # lets PyTorch look for torchrun's store
_PORTS, _FIRST_PORT = 12000, 18000  # for steps of SLURM: below the ports that systems give to programs by themselves

Starter = Literal["imgrec", "torchrun", "srun"]


@dataclass(frozen=True, kw_only=True)
class Start:
    """How this process was started.

    Attributes:
        by: The program that started it as one of the processes of a run; None if it is a run by itself, or the first
            process of a run, which starts the others.
        rank: The process' rank, from 0.
        local_rank: Its rank among the processes on its machine, which selects its GPU.
        size: The number of processes; 1 for `imgrec`, which does not tell it, and for None.
        nodes: The number of machines.
        per_node: The number of processes on each machine; None if it is not the same on all.
        address, port: Where the first process waits for the others; no port if it chooses one.
    """

    by: Starter | None = None
    rank: int = 0
    local_rank: int = 0
    size: int = 1
    nodes: int = 1
    per_node: int | None = 1
    address: str = ADDRESS
    port: int | None = None

    @property
    def from_outside(self) -> bool:
        """True for one of several processes that another program has started."""
        return self.by in ("torchrun", "srun") and self.size > 1


def here() -> Start:
    """Return how this process was started."""
    if _is_companion(os.getpid()):
        rank = _number(LOCAL_RANK) or 0
        return Start(by="imgrec", rank=rank, local_rank=rank, port=_number(PORT))
    return _torchrun() or _srun() or Start()


def rank() -> int:
    """Return this process' rank in its run; 0 for the first process, and for a run of one process."""
    return here().rank


def refuse(devices: int, nodes: int) -> None:
    """Refuse to carry out a run in a process that was started like this one.

    Args:
        devices: The run's processes on each machine (trainer.devices).
        nodes: Its machines (trainer.num_nodes).

    Raises:
        UsageError: A rank is given and no program that gives it is known, or other processes were started, or the run
            needs a program that starts processes on several machines.
    """
    refuse_strays()
    start = here()
    if start.by not in ("torchrun", "srun"):
        if nodes > 1:
            raise UsageError(
                f"trainer.num_nodes={nodes} needs torchrun or srun, as imgrec starts processes on its own machine only;"
                " start a single run with one of them (docs/troubleshooting.md), or give trainer.num_nodes=1"
            )
        return
    if (start.nodes, start.per_node, start.size) == (nodes, devices, devices * nodes):
        return
    if start.by == "torchrun":
        name, options = "WORLD_SIZE", f"--nnodes {nodes} --nproc-per-node {devices}"
    else:
        name, options = "SLURM_NTASKS", f"--nodes {nodes} --ntasks {devices * nodes} --ntasks-per-node {devices}"
    machines = "1 machine" if start.nodes == 1 else f"{start.nodes} machines"
    others = ""
    if start.size > 1 and start.per_node is not None:
        others = f" trainer=ddp trainer.devices={start.per_node} trainer.num_nodes={start.nodes},"
    ways = f"give {options},{others}"
    if nodes == 1:
        ways += f" or start imgrec without {start.by}: it starts the processes of a run itself"
    raise UsageError(
        f"{name}={start.size} of {start.by}, on {machines}, must be trainer.devices={devices} x"
        f" trainer.num_nodes={nodes}, as each process trains on one device of its machine; {ways.rstrip(',')}"
    )


def refuse_several(what: str) -> None:
    """Refuse a command of one process where another program has started several.

    Args:
        what: The command, for the error message.
    """
    refuse_strays()
    start = here()
    if start.from_outside:
        raise UsageError(
            f"{what} needs one process, and {start.by} has started {start.size}; start it without {start.by}:"
            " a distributed run among its runs starts its processes itself"
        )


def refuse_strays() -> None:
    """Refuse a rank, or a number of processes, that no known program gives."""
    start = here()
    if start.by == "imgrec" or start.from_outside:
        return
    for names, least in ((_RANKS, 1), (_SIZES, 2)):
        for name in names:
            if (value := _number(name)) is not None and value >= least:
                raise UsageError(
                    f"{name} must not be set, as imgrec starts the processes of a run itself, got {name}={value}; unset"
                    " it, and give trainer=ddp trainer.devices=N for several processes, or start them with torchrun or"
                    " srun, which set all of their variables"
                )


def forget_strays() -> None:
    """Remove ranks that count for nothing from the environment, as Lightning or PyTorch would wait for processes."""
    start = here()
    if start.by != "imgrec" and not start.from_outside:
        for name in (*_RANKS, *_SIZES, _STORE):
            os.environ.pop(name, None)


def has_store() -> bool:
    """Return True if torchrun has a store for its processes; otherwise the first of them has it."""
    return os.environ.get(_STORE) == "True"


def attempt() -> str:
    """Return how often torchrun has started its processes again."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


@functools.cache  # the process that started this one may end, which changes the parent's id
def _is_companion(process: int) -> bool:
    return os.environ.get(STARTED_BY) == str(os.getppid())


def _torchrun() -> Start | None:
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    local_rank, local_size = _number(LOCAL_RANK), _number("LOCAL_WORLD_SIZE")
    address, port = os.environ.get(_ADDRESS), _number(PORT)
    if "TORCHELASTIC_RUN_ID" not in os.environ or rank is None or local_rank is None or not address or not port:
        return None
    if not size or not local_size or rank >= size:
        return None
    return Start(
        by="torchrun",
        rank=rank,
        local_rank=local_rank,
        size=size,
        nodes=_number("GROUP_WORLD_SIZE") or -(-size // local_size),
        per_node=local_size,
        address=address,
        port=port,
    )


def _srun() -> Start | None:
    """Return the step of SLURM that this process is a task of.

    A step of one task is no distributed run, and neither is the script of sbatch or the shell of salloc, in which no
    step is named.
    """
    step, rank = _number("SLURM_STEP_ID"), _number("SLURM_PROCID")
    tasks = _number("SLURM_STEP_NUM_TASKS") or _number("SLURM_NTASKS") or 1
    if step is None or rank is None or tasks == 1 or rank >= tasks:
        return None
    nodes = _number("SLURM_STEP_NUM_NODES") or _number("SLURM_NNODES") or 1
    # "2(x3)" for the same number on all of three machines, "3,1" for others
    even = re.fullmatch(r"(\d+)(\(x\d+\))?", os.environ.get("SLURM_STEP_TASKS_PER_NODE", str(-(-tasks // nodes))))
    local_rank = _number("SLURM_LOCALID")
    port = _FIRST_PORT + (101 * (_number("SLURM_JOB_ID") or 0) + step) % _PORTS
    return Start(
        by="srun",
        rank=rank,
        local_rank=rank if local_rank is None else local_rank,
        size=tasks,
        nodes=nodes,
        per_node=int(even[1]) if even else None,
        address=ADDRESS if nodes == 1 else os.environ.get(_ADDRESS) or _first_host(),
        port=_number(PORT) or port,
    )


def _first_host() -> str:
    """Return the first host of the step, which has the first process: of `gpu[03,07-09],big1` it is `gpu03`."""
    hosts = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST") or ADDRESS
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", hosts).partition(",")[0]


def _number(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() else None
