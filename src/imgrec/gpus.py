"""Answer which GPUs this process can use, why it cannot use others, and which errors mean that a GPU is broken.

NVML may report GPUs that CUDA cannot use, as where the driver is too old for PyTorch's build. CUDA itself is asked in
another process (`cuda_probe`): asking here would take memory of a GPU, and a GPU in exclusive mode for this process
alone. torch is imported on use.
"""

import contextlib
import functools
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgrec import cuda_probe
from imgrec.errors import BrokenGpuError

VISIBLE = "CUDA_VISIBLE_DEVICES"
WAY_OUT = "update the driver, install a build of PyTorch for it"
_PATIENCE = 120.0  # seconds for the driver to answer; it may have to wake several GPUs first
_NO_CUDA, _NO_DEVICE = 0, 100  # codes of `cuda_probe.look`; 100 is CUDA_ERROR_NO_DEVICE
_NATIVE_BFLOAT16 = 8  # the major compute capability from which GPUs compute in bfloat16 and TF32
_CONTEXT = 1 << 30  # bytes that a process takes of a GPU beside PyTorch's memory: CUDA's context and libraries
_MIG = " MIG "  # in CUDA's name of a MIG instance: NVIDIA A100-SXM4-40GB MIG 1g.5gb


@dataclass(frozen=True, kw_only=True)
class Found:
    """The GPUs that CUDA shows to this process.

    Attributes:
        names: Their names, in CUDA's order.
        capabilities: The major compute capability of each.
        driver: The version of the NVIDIA driver; None where it is unknown.
        why_not: Why PyTorch cannot use the GPUs that the driver reports, as a clause; None if it can, or there are
            none.
    """

    names: tuple[str, ...] = ()
    capabilities: tuple[int, ...] = ()
    driver: str | None = None
    why_not: str | None = None

    @property
    def is_mig(self) -> bool:
        """True for an instance of a divided GPU (MIG), of which CUDA shows a process only one."""
        return any(_MIG in name for name in self.names)

    @property
    def emulates_bfloat16(self) -> bool:
        """True if a GPU computes in bfloat16 only by emulation, and so has no TF32 either."""
        return any(capability < _NATIVE_BFLOAT16 for capability in self.capabilities)

    def too_few(self, devices: int) -> str | None:
        """Return why a run cannot have so many GPUs, in a sentence; None if it can."""
        if devices <= len(self.names):
            return None
        if self.is_mig:
            return (
                f"trainer.devices must be 1 on a MIG instance ({self.names[0]}), as CUDA shows a process only one, got"
                f" {devices}; give trainer.devices=1 trainer.strategy=auto, or whole GPUs in {VISIBLE}"
            )
        return f"trainer.devices must be at most {len(self.names)}, the GPUs of this machine, got {devices}"


_hidden: Found | None = None  # what was found before `unusable_hidden` hid it


def found() -> Found:
    """Return the GPUs that this process can use. This does not initialise CUDA here."""
    import torch

    if _hidden is not None:
        return _hidden
    if torch.version.cuda is None or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        places = range(torch.cuda.device_count())
        return Found(
            names=tuple(torch.cuda.get_device_name(place) for place in places),
            capabilities=tuple(torch.cuda.get_device_capability(place)[0] for place in places),
            driver=_driver() if places and torch.version.cuda else None,
        )
    given = _given()
    if given == []:
        return Found()
    divided = given is not None and given[0].startswith("MIG-")
    reported = 0 if divided else torch.cuda.device_count()  # for an instance it would initialise CUDA
    if not (reported or divided or cuda_probe.KERNEL_MODULE.exists()):
        return Found()
    return _judged(_asked(os.environ.get(VISIBLE)), reported, torch.version.cuda, torch.__version__)


def _judged(said: dict[str, Any], reported: int, built_for: str, version: str) -> Found:
    """Return what the driver's answer amounts to.

    Args:
        said: The answer of `cuda_probe.look`; only `error` where there was none.
        reported: The number of GPUs that NVML reports; 0 for an instance of a divided GPU.
        built_for: The version of CUDA that PyTorch is built for.
        version: The version of PyTorch.
    """
    driver, error, cuda = said.get("driver"), said.get("error"), said.get("cuda")
    if error is not None and not reported and said.get("code") in (_NO_CUDA, _NO_DEVICE):
        return Found(driver=driver)  # the module is of the machine, and this container was given no GPU
    who = f"the NVIDIA driver{f' {driver}' if driver else ''} reports GPUs that PyTorch {version} cannot use"
    if cuda is not None and cuda // 1000 < int(built_for.partition(".")[0]):
        old = f"{cuda // 1000}.{cuda % 1000 // 10}"
        reason = f"{who}: it supports CUDA up to {old}, and PyTorch is built for CUDA {built_for}"
        return Found(driver=driver, why_not=reason)
    if error is not None:
        return Found(driver=driver, why_not=f"{who} (built for CUDA {built_for}): {error}")
    if reported and not said["gpus"]:
        return Found(driver=driver, why_not=f"{who}: CUDA shows none")
    return Found(
        names=tuple(name for name, _, _ in said["gpus"]),
        capabilities=tuple(major for _, major, _ in said["gpus"]),
        driver=driver,
    )


@functools.cache
def _asked(visible: str | None) -> dict[str, Any]:
    """Return what `cuda_probe.look` says in a process of its own, once for each value of CUDA_VISIBLE_DEVICES."""
    return _probed({} if visible is None else {VISIBLE: visible})


def _driver() -> str | None:
    """Return the driver's version. Where the system tells it, no process is started."""
    return cuda_probe.module_version() or _asked(os.environ.get(VISIBLE)).get("driver")


def refused_with(variables: Mapping[str, str]) -> str | None:
    """Return why CUDA shows no GPU to a process that has these environment variables, on one line; None if it does."""
    visible = os.environ.get(VISIBLE)
    said = _probed(variables if visible is None else {VISIBLE: visible, **variables})
    if (error := said.get("error")) is not None:
        return " ".join(str(error).split())
    return None if said.get("gpus") else "CUDA shows no GPU"


def _probed(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return what `cuda_probe.look` says in a process of its own, which has these variables and no other VISIBLE."""
    own = {key: value for key, value in os.environ.items() if key != VISIBLE} | dict(variables)
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(cuda_probe.__file__)], capture_output=True, timeout=_PATIENCE, env=own
        )
        if done.returncode == 0:
            said: dict[str, Any] = json.loads(done.stdout)
            return said
    except subprocess.TimeoutExpired:
        return {"error": f"it gave no answer in {_PATIENCE:g} seconds", "code": None}
    except (OSError, ValueError) as error:
        return {"error": f"it could not be asked: {error}", "code": None}
    code = done.returncode
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return {"error": f"asking it ended with {how}", "code": None}


def _given() -> list[str] | None:
    """Return what CUDA_VISIBLE_DEVICES names, up to what is no GPU; None where it is not set.

    So CUDA reads it: `-1` and whatever is no number and no GPU- or MIG- name hide all that follows.
    """
    value = os.environ.get(VISIBLE)
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    return list(itertools.takewhile(lambda name: re.match(r"\+?\d|GPU-|MIG-", name) is not None, names))


def handed_out() -> list[str]:
    """Return each GPU that a process of its own can be given, by the name for its CUDA_VISIBLE_DEVICES.

    CUDA shows a process whole GPUs, or one MIG instance. So processes may share named instances, one each.
    """
    usable, given = found(), _given()
    if not given or not usable.names:
        return [str(number) for number in range(len(usable.names))]
    if given[0].startswith("MIG-"):
        return list(dict.fromkeys(name for name in given if name.startswith("MIG-")))
    return given[: len(usable.names)]


@contextlib.contextmanager
def unusable_hidden() -> Iterator[None]:
    """Hide GPUs that CUDA cannot use from PyTorch and Lightning in the block, as these would fail on the CPU too."""
    global _hidden
    known, before = found(), os.environ.get(VISIBLE)
    if known.why_not is None or _hidden is not None:
        yield
        return
    _hidden, os.environ[VISIBLE] = known, ""
    try:
        yield
    finally:
        _hidden = None
        if before is None:
            os.environ.pop(VISIBLE, None)
        else:
            os.environ[VISIBLE] = before


def check_given(names: Sequence[str]) -> None:
    """Check that CUDA shows this process the GPUs that it was given. This initialises CUDA.

    Raises:
        BrokenGpuError: It does not.
    """
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except Exception as error:  # of CUDA, of NVML, or of what PyTorch does at its first use
        raise BrokenGpuError(f"CUDA cannot use it, got: {_first_line(error)}") from error
    if count != len(names):
        raise BrokenGpuError(f"CUDA must show {len(names)} GPU{'s' * (len(names) > 1)} by this name, and shows {count}")


def limit_memory(sharing: int) -> None:
    """Limit the memory that PyTorch takes of the GPU to this process' part of it. CUDA is initialised.

    Args:
        sharing: The number of processes that share the GPU, each of which has a context beside PyTorch's memory.
    """
    import torch

    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(max(0.5 / sharing, 1 / sharing - _CONTEXT / whole))


_BROKEN = re.compile(
    r"uncorrectable (ECC|NVLink) error|fallen off the bus|GPU is lost|no CUDA-capable device is detected"
    r"|CUDA-capable device(s|\(s\)) (is/are|are) busy or unavailable"
    r"|CUDA (driver )?error: (initialization error|unknown error|system not yet initialized)"
    r"|CUDA unknown error|CUDA driver initialization failed",
    re.IGNORECASE,
)


def broken(error: BaseException) -> str | None:
    """Return CUDA's reason if the error says that a GPU cannot be used, whatever the program does; else None.

    Where this process has no GPU, the error is of a program that asks for one. An illegal memory access, a failed
    assertion on the device and an unspecified launch failure may be the program's own fault, and are no such errors.
    """
    import torch

    seen = set[int]()
    ahead: BaseException | None = error
    while ahead is not None and id(ahead) not in seen:
        seen.add(id(ahead))
        if isinstance(ahead, BrokenGpuError) or (isinstance(ahead, RuntimeError) and _BROKEN.search(str(ahead))):
            there = torch.cuda.is_initialized() or found().names  # type: ignore[no-untyped-call]
            return _first_line(ahead) if there else None
        ahead = ahead.__cause__ or ahead.__context__
    return None


def lost() -> str | None:
    """Return the error that each further use of CUDA in this process ends with, on one line; None if CUDA works."""
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        return _first_line(error)
    return None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
