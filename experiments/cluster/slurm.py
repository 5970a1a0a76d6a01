"""Start and stop SLURM on this machine alone, to try `launcher=slurm`.

    python experiments/cluster/slurm.py start FOLDER   # starts it, prints the line that makes its commands find it
    python experiments/cluster/slurm.py stop FOLDER

The nodes n1, n2, ... are all this machine, and so are the GPUs, which nothing computes on. Everything is kept in the
folder; nothing else on the machine changes, and only loopback is used. SLURM's programs must be installed; on Debian
and Ubuntu: apt-get install slurm-wlm slurm-client munge. Its accounting database is not needed.
"""

import argparse
import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
_CONF = """\
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=5,bf_interval=5
ReturnToService=2
KillWait=10
MinJobAge=60
SlurmdTimeout=30
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\nConstrainDevices=no\nConstrainRAMSpace=no\n"
_PATIENCE = 60.0  # seconds for the daemons to start, and for the nodes to become idle


def missing() -> list[str]:
    """Return which of SLURM's programs are not installed."""
    return [name for name in PROGRAMS if _program(name) is None]


def start(folder: Path, *, nodes: int = 2, cpus: int = 2, gpus: int = 1) -> Path:
    """Start SLURM, and return its configuration, which the variable SLURM_CONF has to name.

    Args:
        folder: Where it keeps its state. It is created.
        nodes: The number of nodes, each of which is this machine.
        cpus: The number of CPUs that each node claims to have.
        gpus: The number of GPUs that each node claims to have; at most 2.

    Raises:
        RuntimeError: A program is missing, or a daemon does not start.
    """
    if lacking := missing():
        raise RuntimeError(f"SLURM must be installed, and these programs are not found: {', '.join(lacking)}")
    folder = folder.absolute()
    for name in ("munge", "state", *(f"spool-n{number}" for number in range(1, nodes + 1))):
        (folder / name).mkdir(parents=True, exist_ok=True)
    conf = _write_files(folder, nodes=nodes, cpus=cpus, gpus=gpus)
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    _start_munge(folder / "munge")
    _call(["slurmctld", "-f", str(conf)], environment)
    for number in range(1, nodes + 1):
        _call(["slurmd", "-f", str(conf), "-N", f"n{number}"], environment)
    until = time.monotonic() + _PATIENCE
    while (said := _states(environment)).count("idle") < nodes:
        if time.monotonic() > until:
            raise RuntimeError(f"the nodes must become idle, and sinfo says: {said}; see {folder}/*.log")
        time.sleep(0.5)
    return conf


def stop(folder: Path) -> None:
    """End the daemons that `start` started in this folder, and the jobs that they carry out."""
    folder = folder.absolute()
    if (folder / "slurm.conf").is_file():
        _end_jobs({**os.environ, "SLURM_CONF": str(folder / "slurm.conf")})
    pids = [*sorted(folder.glob("slurm*.pid")), folder / "munge" / "pid"]
    for path in pids:
        with contextlib.suppress(FileNotFoundError, ValueError):
            _end(int(path.read_text()))


def _end_jobs(environment: dict[str, str]) -> None:
    """Cancel all jobs, and wait until none runs, as far as SLURM still answers."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["scancel", "--me"], env=environment, check=True, capture_output=True, timeout=10)
        for _ in range(60):
            listed = subprocess.run(["squeue", "-h"], env=environment, check=True, capture_output=True, timeout=10)
            if not listed.stdout:
                return
            time.sleep(0.5)


def _write_files(folder: Path, *, nodes: int, cpus: int, gpus: int) -> Path:
    host, first = socket.gethostname(), _free_port()
    lines = [
        f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={first + number} CPUs={cpus} RealMemory=4000"
        f" Gres=gpu:{gpus} State=UNKNOWN"
        for number in range(1, nodes + 1)
    ]
    conf = folder / "slurm.conf"
    conf.write_text(_CONF.format(host=host, user=getpass.getuser(), folder=folder, port=first, nodes="\n".join(lines)))
    devices = ("/dev/null", "/dev/zero")[:gpus]
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in devices))
    (folder / "cgroup.conf").write_text(_CGROUP)
    return conf


def _start_munge(folder: Path) -> None:
    """Start MUNGE, by which SLURM's programs trust each other, with a key of its own."""
    key = folder / "key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
    folder.chmod(0o755)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    _call(["munged", "--force", *(f"--{option}={folder / name}" for option, name in files.items())], dict(os.environ))


def _states(environment: dict[str, str]) -> str:
    done = subprocess.run(["sinfo", "-N", "-h", "-o", "%n %t"], env=environment, capture_output=True, text=True)
    return " ".join((done.stdout + done.stderr).split())


def _call(command: list[str], environment: dict[str, str]) -> None:
    program = _program(command[0])
    assert program is not None, "checked before"
    done = subprocess.run([program, *command[1:]], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} must start, and said: {' '.join((done.stdout + done.stderr).split())}")


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def _free_port() -> int:
    """Return a port after which some more are likely to be free: below those that systems give to programs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return 15000 + int(probe.getsockname()[1]) % 10000


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
        for _ in range(100):
            os.kill(process, 0)
            time.sleep(0.1)
        os.kill(process, signal.SIGKILL)


def main() -> None:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("folder", type=Path, help="where its files are kept; on a local disk")
    parser.add_argument("--nodes", type=int, default=2, help="number of nodes (default: %(default)s)")
    parser.add_argument("--cpus", type=int, default=2, help="CPUs that each claims to have (default: %(default)s)")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs that each claims to have (default: %(default)s)")
    asked = parser.parse_args()
    if asked.action == "stop":
        stop(asked.folder)
        return
    try:
        conf = start(asked.folder, nodes=asked.nodes, cpus=asked.cpus, gpus=asked.gpus)
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"export SLURM_CONF={conf}")


if __name__ == "__main__":
    main()
