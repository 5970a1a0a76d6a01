"""Describe the environment of a measurement: versions, hardware, threads and commit; and check the hardware."""

import contextlib
import functools
import logging
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import imgrec
from imgrec.config.root import Config
from imgrec.cpu_features import bfloat16_slowdown
from imgrec.errors import UsageError

_SLOW = 1.5  # ratio to float32 above which noise of one timing is no explanation
log = logging.getLogger(__name__)

_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "pillow")

_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # git sets them for hooks of another repository


def check_hardware(config: Config) -> None:
    """Refuse an accelerator, or a number of devices, that this machine does not have."""
    trainer = config.trainer
    gpus = torch.cuda.device_count()
    if trainer.accelerator == "gpu" and gpus == 0:
        raise UsageError(
            "trainer.accelerator=gpu needs a CUDA GPU and this machine has none",
            way_out="use trainer=cpu, or trainer=ddp trainer.accelerator=cpu for several processes",
        )
    if trainer.precision == "16-mixed" and (trainer.accelerator == "cpu" or gpus == 0):
        raise UsageError("trainer.precision=16-mixed needs a CUDA GPU", way_out="use bf16-mixed, or 32")
    uses_gpu = trainer.accelerator == "gpu" or (trainer.accelerator == "auto" and gpus > 0)
    if uses_gpu and trainer.devices > gpus:
        raise UsageError(f"trainer.devices must be at most {gpus}, the GPUs of this machine, got {trainer.devices}")
    if uses_gpu and trainer.precision == "bf16-mixed":
        check_bfloat16("trainer.precision=bf16-mixed", "16-mixed, or 32")
    if uses_gpu and config.test_precision == "bf16":
        check_bfloat16("test_precision=bf16", "test_precision=32")


def check_bfloat16(asked: str, instead: str) -> None:
    """Refuse bfloat16 on a GPU that only emulates it, which is slower than float32. The check initialises CUDA.

    Args:
        asked: The setting that asks for bfloat16.
        instead: The setting to use instead.
    """
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        only = "a GPU of compute capability 8.0 (Ampere), and this one only emulates bfloat16"
        raise UsageError(f"{asked} needs {only}", way_out=f"use {instead}")


def slow_arithmetic(config: Config) -> list[str]:
    """Return warnings about bfloat16 that the run uses but the CPU only emulates, each with the key that avoids it.

    The list is empty on a GPU, and where bfloat16 is about as fast as float32.
    """
    if config.trainer.accelerator == "gpu" or (config.trainer.accelerator == "auto" and torch.cuda.is_available()):
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


def environment() -> dict[str, Any]:
    """Return versions, hardware, threads and commit, in the form of record.json."""
    return {**_installed(), "threads": torch.get_num_threads(), **code_in(Path(__file__).resolve().parent)}


@functools.cache
def _installed() -> dict[str, Any]:
    return {
        "imgrec": imgrec.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
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
