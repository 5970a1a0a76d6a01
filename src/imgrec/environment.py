"""Describe the environment of a measurement: versions, hardware, threads and commit; and check the hardware."""

import contextlib
import functools
import logging
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import imgrec
from imgrec import gpus
from imgrec.config.root import Config
from imgrec.cpu_features import bfloat16_slowdown
from imgrec.cuda_probe import KERNEL_MODULE
from imgrec.errors import UsageError

_SLOW = 1.5  # ratio to float32 above which noise of one timing is no explanation
log = logging.getLogger(__name__)

_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "pillow")

_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # git sets them for hooks of another repository


def check_hardware(config: Config) -> None:
    """Refuse an accelerator, or a number of devices, that this machine does not have."""
    trainer, usable = config.trainer, gpus.found()
    there = bool(usable.names)
    if trainer.accelerator == "gpu":
        instead = "use trainer=cpu, or trainer=ddp trainer.accelerator=cpu for several processes"
        refuse_without_gpu("trainer.accelerator=gpu", instead)
    if trainer.accelerator == "cpu" or not there:
        why = f", and {usable.why_not}" if usable.why_not and trainer.accelerator != "cpu" else ""
        if trainer.precision == "16-mixed":
            raise UsageError(f"trainer.precision=16-mixed needs a CUDA GPU{why}", way_out="use bf16-mixed, or 32")
        if trainer.graphs:
            raise UsageError(f"trainer.graphs=true needs a CUDA GPU{why}", way_out="give trainer.graphs=false")
        return
    if too_few := usable.too_few(trainer.devices):
        raise UsageError(too_few)
    if trainer.precision == "bf16-mixed":
        check_bfloat16("trainer.precision=bf16-mixed", "16-mixed, or 32")
    if config.test_precision == "bf16":
        check_bfloat16("test_precision=bf16", "test_precision=32")


def refuse_without_gpu(asked: str, instead: str) -> None:
    """Refuse a GPU where PyTorch can use none.

    Args:
        asked: The setting that asks for a GPU.
        instead: What to do instead.
    """
    usable = gpus.found()
    if usable.names:
        return
    why, ways = "this machine has none", ""
    if usable.why_not is not None:
        why, ways = usable.why_not, f"{gpus.WAY_OUT}, or "
    elif torch.version.cuda is None and torch.version.hip is None and KERNEL_MODULE.exists():
        why, ways = f"PyTorch {torch.__version__} is built without CUDA", "install a build of PyTorch with CUDA, or "
    elif KERNEL_MODULE.exists() and gpus.VISIBLE in os.environ:
        why, ways = f"{gpus.VISIBLE}={os.environ[gpus.VISIBLE]!r} shows none", "name one there, or "
    raise UsageError(f"{asked} needs a CUDA GPU and {why}", way_out=f"{ways}{instead}")


def check_bfloat16(asked: str, instead: str) -> None:
    """Refuse bfloat16 on a GPU that only emulates it, which is slower than float32.

    Args:
        asked: The setting that asks for bfloat16.
        instead: The setting to use instead.
    """
    if gpus.found().emulates_bfloat16:
        only = "a GPU of compute capability 8.0 (Ampere), and this one only emulates bfloat16"
        raise UsageError(f"{asked} needs {only}", way_out=f"use {instead}")


def hardware_warnings(config: Config) -> list[str]:
    """Return warnings about what the run does on this machine, other than its configuration may suggest.

    It falls back to the CPU beside GPUs that PyTorch cannot use, or asks for bfloat16 that the CPU only emulates.
    """
    told = []
    if config.trainer.accelerator == "auto" and (fallback := without_gpu("trainer.accelerator=auto")):
        told.append(f"{fallback}, or silence this with trainer=cpu")
    return told + _slow_arithmetic(config)


def without_gpu(asked: str) -> str | None:
    """Return the warning that the CPU is used although the driver reports GPUs; None if it reports none, or all work.

    Args:
        asked: The key or option that takes a GPU where there is one.
    """
    why_not = gpus.found().why_not
    return None if why_not is None else f"{asked} takes the CPU, as {why_not}; {gpus.WAY_OUT}"


def _slow_arithmetic(config: Config) -> list[str]:
    """Return warnings about bfloat16 that the run uses but the CPU only emulates, each with the key that avoids it.

    The list is empty on a GPU, and where bfloat16 is about as fast as float32.
    """
    if config.trainer.accelerator == "gpu" or (config.trainer.accelerator == "auto" and gpus.found().names):
        return []
    asked = []
    if config.trainer.precision == "bf16-mixed":
        asked.append(("trainer.precision=bf16-mixed", "trainer.precision=32"))
    if config.test_precision == "bf16":
        asked.append(("test_precision=bf16", "test_precision=32"))
    return [told for key, instead in asked if (told := slow_bfloat16(key, instead))]


def slow_bfloat16(asked: str, instead: str) -> str | None:
    """Return the warning that this CPU only emulates bfloat16; None where it is about as fast as float32.

    Args:
        asked: The key or option that asks for bfloat16.
        instead: The one that avoids it.
    """
    slowdown = bfloat16_slowdown()
    if slowdown < _SLOW:
        return None
    return (
        f"{asked} is slow here: a convolution takes {slowdown:.1f} times as long in bfloat16 as in float32 on this CPU;"
        f" {instead} is faster"
    )


def environment(before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return versions, hardware, threads and commit, in the form of record.json.

    Args:
        before: What the record says of an earlier process of the run. If that shared its GPU, the seconds of the whole
            run are those of a shared one.
    """
    usable = gpus.found()
    return {
        **_installed(),
        "gpu": list(usable.names),
        "cuda": torch.version.cuda if usable.names else None,
        "threads": torch.get_num_threads(),
        **code_in(Path(__file__).resolve().parent),
        **{key: value for key, value in (before or {}).items() if key == "shared"},
    }


def threads_of(found: Mapping[str, Any], processes: int) -> int:
    """Return the threads of each process of a run, as its record's environment names them; 0 where it does not.

    Older versions noted for several processes the number before it was divided among them. They named no device.
    """
    return int(found.get("threads") or 0) if processes == 1 or "device" in found else 0


def of_device(device: torch.device, *, devices: int = 1, full_float32: bool = False, shared: int = 1) -> dict[str, Any]:
    """Return what computes in this process, and how, in the form of record.json. On a GPU this initialises CUDA.

    Args:
        device: The device of the process.
        devices: The number of devices of a distributed run on this machine, each with a process of its own.
        full_float32: True if TF32 is disabled where the device computes.
        shared: The number of runs at a time that share the GPU.

    Returns:
        device: The name of the GPU, or of the CPU.
        deterministic: True if only deterministic algorithms are used.
        driver, cudnn: Of a GPU: the versions of the NVIDIA driver and of cuDNN.
        tf32: Of a GPU: which operations in float32 it computes in TF32, of convolutions and matmul.
        shared: Of a GPU that several runs share at a time: how many.
    """
    told: dict[str, Any] = {"device": _cpu(), "deterministic": torch.are_deterministic_algorithms_enabled()}
    if device.type != "cuda":
        return told
    names = [torch.cuda.get_device_name(place) for place in (range(devices) if devices > 1 else [device])]
    usable = gpus.found()
    version = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    if shared > 1:
        told["shared"] = shared
    return told | {
        "device": " + ".join(dict.fromkeys(names)),
        "driver": usable.driver,
        "cudnn": f"{version // 10000}.{version // 100 % 100}.{version % 100}" if version else None,
        "tf32": [] if full_float32 or usable.emulates_bfloat16 else _in_tf32(),
    }


def name_of(device: torch.device) -> str:
    """Return the name of a GPU, or of the CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()


def of_machines(device: torch.device, others: Sequence[str]) -> dict[str, Any]:
    """Return what computes in a run on several machines, in the form of record.json.

    Args:
        device: The device of this process.
        others: The names of the other processes' devices.

    Returns:
        device: The different names.
        devices: For each of them, how many processes have such a device, such as "8 x NVIDIA H200".
    """
    counts = Counter([name_of(device), *others])
    return {"device": " + ".join(counts), "devices": [f"{count} x {name}" for name, count in counts.items()]}


def _in_tf32() -> list[str]:
    """Return the operations in float32 that PyTorch computes in TF32 on a GPU that has it."""
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":  # NVIDIA's libraries then never use it
        return []
    cudnn = torch.backends.cudnn
    convolutions = cudnn.enabled and cudnn.conv.fp32_precision == "tf32"  # type: ignore[attr-defined]
    matmul = torch.backends.cuda.matmul.fp32_precision == "tf32"
    return ["convolutions"] * convolutions + ["matmul"] * matmul


@functools.cache
def _installed() -> dict[str, Any]:
    return {
        "imgrec": imgrec.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "cpu_kernels": torch.backends.cpu.get_cpu_capability(),  # such as AVX2; others round differently
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):  # not Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def code_in(package: Path) -> dict[str, Any]:
    """Return the commit that the package in that folder runs from, and whether its files differ from the commit.

    Both are None outside of a git repository. If git reports an error, its reason is logged.
    """
    inside = any((folder / ".git").exists() for folder in package.parents)

    def git(*arguments: str) -> str | None:
        # the folder may be another user's. Its Python code is already running; its git configuration must start nothing
        # here
        words = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
        own = {key: value for key, value in os.environ.items() if key not in _ANOTHER_REPOSITORY} | {"LC_ALL": "C"}
        try:
            done = subprocess.run(
                [*words, "-C", str(package), *arguments], capture_output=True, text=True, timeout=10, env=own
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
        else:
            if done.returncode == 0:
                return done.stdout.strip()
            reason = done.stderr.strip() if done.stderr.startswith("fatal:") else ""
        if inside and reason:
            log.warning("the record names no commit, as git cannot tell: %s", reason)
        return None

    if git("ls-files", "--error-unmatch", str(package / "environment.py")) is None:
        return {"commit": None, "dirty": None}
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
