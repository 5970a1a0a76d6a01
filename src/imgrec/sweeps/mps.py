"""Start NVIDIA's Multi-Process Service (MPS), which lets processes compute on one GPU at the same time.

Without it the processes take turns on the GPU. See docs.nvidia.com/deploy/mps.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from imgrec import gpus
from imgrec.sweeps.shares import Share

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
_PATIENCE = 60.0  # seconds for the daemon to start, and to end after its clients
_GRACE = 90.0  # seconds for the runs of a sweep that was killed to save themselves, before their daemon ends
# waits until the sweep has ended, whose end closes stdin; $1: the program, $2: the daemon's folder, $3: _GRACE
_AFTERWARDS = 'read -r _; sleep "$3"; echo quit | "$1" && rm -rf "$2"'


@contextlib.contextmanager
def served(shares: Sequence[Share], tell: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """Let the processes that share a GPU use MPS in the block, where its daemon can be started for this user.

    A daemon that CUDA_MPS_PIPE_DIRECTORY names already is the user's own, and stays. The one that is started here ends
    with the block, or soon after this process where that is killed.

    Args:
        shares: The shares of the processes.
        tell: Prints a line, where the processes take turns instead.

    Yields:
        The environment variables of the processes.
    """
    if all(share.shared == 1 for share in shares) or PIPES in os.environ:
        yield {}
        return
    program = shutil.which(CONTROL)
    why = _impossible(shares, program)
    if why is not None or program is None:
        tell(f"the runs on a GPU take turns, without NVIDIA's MPS: {why}")
        yield {}
        return
    folder = Path(tempfile.mkdtemp(prefix="imgrec-mps-"))
    variables = {PIPES: str(folder / "pipe"), LOGS: str(folder / "log")}
    for place in variables.values():
        Path(place).mkdir()
    # the daemon has all GPUs, as it would number those of CUDA_VISIBLE_DEVICES anew for its clients
    own = {key: value for key, value in os.environ.items() if key != gpus.VISIBLE} | variables
    try:
        with _ended_afterwards(program, folder, own):
            if (why := _call([program, "-d"], own)) is None:
                why = gpus.refused_with(variables)
            if why is not None:
                tell(f"the runs on a GPU take turns, without NVIDIA's MPS: {why}")
            yield variables if why is None else {}
    finally:
        if (left := _call([program], own, "quit\n")) is None or why is not None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            tell(f"NVIDIA's MPS goes on ({left}); end it with: echo quit | {PIPES}={variables[PIPES]} {CONTROL}")


@contextlib.contextmanager
def _ended_afterwards(program: str, folder: Path, variables: dict[str, str]) -> Iterator[None]:
    """Let a process of its own end the daemon if this process is killed in the block.

    It knows this daemon by its folder, and so ends no other.

    Args:
        program: The daemon's control program.
        folder: The folder with its pipes, which is then removed.
        variables: The environment variables that name these.
    """
    words = ["/bin/sh", "-c", _AFTERWARDS, "imgrec-mps", program, str(folder), str(_GRACE)]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(
        words, env=variables, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True
    ) as process:
        try:
            yield
        finally:
            process.kill()


def _impossible(shares: Sequence[Share], program: str | None) -> str | None:
    """Return why MPS is not started, as a clause; None if it can be tried."""
    if any(name.startswith("MIG-") for share in shares for name in share.gpus) or gpus.found().is_mig:
        return "it is left out on MIG instances"
    return f"{CONTROL} is not on the PATH" if program is None else None


def _call(command: Sequence[str], variables: dict[str, str], words: str = "") -> str | None:
    """Call the program, and return why it has failed, as a clause; None if it has not.

    Its output goes to a file, as the daemon that it leaves behind would keep a pipe open.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            done = subprocess.run(
                command,
                env=variables,
                input=words,
                stdout=said,
                stderr=said,
                text=True,
                timeout=_PATIENCE,
                start_new_session=True,  # or Ctrl-C would end it before the runs
            )
        except (OSError, subprocess.SubprocessError) as error:
            return " ".join(str(error).split())
        said.seek(0)
        reason = " ".join(said.read().split())
    return (
        None if done.returncode == 0 else f"{CONTROL} ended with exit code {done.returncode}: {reason or 'no reason'}"
    )
