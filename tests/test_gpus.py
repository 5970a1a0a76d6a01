"""Test which GPUs are found, with a fake driver: those that work, those that PyTorch cannot use, and parts of one."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_gpus
import pytest
import torch

from imgrec import environment, gpus, launch, records
from imgrec.config.compose import compose
from imgrec.environment import check_hardware
from imgrec.errors import BrokenGpuError, UsageError

Said = tuple[int, str, str]
OLD = {"driver": "470.82.01", "cuda": 11040}
TOO_OLD = (
    r"the NVIDIA driver 470\.82\.01 reports GPUs that PyTorch \S+ cannot use: it supports CUDA up to 11\.4, and PyTorch"
    r" is built for CUDA 13\.0"
)
H200, MIG = "NVIDIA H200", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """`driver(NAMES..., visible=None, cuda=13000, ...)`: as `fake_gpus.install`."""
    yield lambda *names, **words: fake_gpus.install(monkeypatch, tmp_path, *names, **words)
    gpus._asked.cache_clear()


def test_gpus_that_work_are_named_and_cuda_is_not_initialised(driver: Callable[..., None]) -> None:
    driver(H200, "NVIDIA A100")
    assert gpus.found() == gpus.Found(names=(H200, "NVIDIA A100"), capabilities=(9, 9), driver="580.65.06")
    check_hardware(compose(["data=digits", "trainer=ddp", "trainer.precision=bf16-mixed"]))
    assert environment.environment()["gpu"] == [H200, "NVIDIA A100"]
    assert environment.environment()["cuda"] == "13.0"
    assert not torch.cuda.is_initialized()


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (OLD, TOO_OLD),
        ({"error": (999, "unknown error")}, r"driver 580\.65\.06 reports .* \(built for CUDA 13\.0\): unknown error"),
        ({"error": (100, "no CUDA-capable device is detected")}, "no CUDA-capable device is detected"),
    ],
)
def test_gpus_that_pytorch_cannot_use_are_refused_or_told(
    driver: Callable[..., None], told: dict[str, Any], sentence: str
) -> None:
    driver(H200, **told)
    assert environment.environment()["gpu"] == []
    ways = "; update the driver, install a build of PyTorch for it, or use trainer=cpu, or trainer=ddp"
    with pytest.raises(UsageError, match=f"trainer.accelerator=gpu needs a CUDA GPU and .*{sentence}{ways}"):
        check_hardware(compose(["data=digits", "trainer=gpu"]))
    with pytest.raises(UsageError, match=f"16-mixed needs a CUDA GPU, and .*{sentence}; use bf16-mixed"):
        check_hardware(compose(["data=digits", "trainer.precision=16-mixed"]))
    with pytest.raises(UsageError, match=f"graphs=true needs a CUDA GPU, and .*{sentence}; give trainer.graphs=false"):
        check_hardware(compose(["data=digits", "trainer.graphs=true"]))
    config = compose(["data=digits"])
    check_hardware(config)
    (warning,) = environment.hardware_warnings(config)
    assert re.match(f"trainer.accelerator=auto takes the CPU, as .*{sentence}; update the driver", warning)
    assert environment.hardware_warnings(compose(["data=digits", "trainer=cpu"])) == []


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
def test_a_run_trains_on_the_cpu_beside_a_driver_that_is_too_old(
    driver: Callable[..., None], tiny: list[str], caplog: pytest.LogCaptureFixture, accelerator: str
) -> None:
    """PyTorch then counts a GPU, and raises an error at each use of it."""
    driver(H200, **OLD)
    outcome = launch.train([*tiny, f"trainer.accelerator={accelerator}", "trainer.max_epochs=1"])
    assert records.read(outcome.folder / "record.json").status == "finished"
    log = (outcome.folder / "train.log").read_text()
    assert bool(re.search(f"WARNING.*trainer.accelerator=auto takes the CPU, as {TOO_OLD}", log)) == (
        accelerator == "auto"
    )
    assert "CUDA_VISIBLE_DEVICES" not in os.environ, "left as found"


def test_a_machine_whose_gpus_were_not_given_to_this_container_has_none(
    driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver(error=(100, "no CUDA-capable device is detected"))
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n")
    monkeypatch.setattr("imgrec.cuda_probe.KERNEL_MODULE", tmp_path / "version")
    assert (gpus.found().names, gpus.found().why_not) == ((), None)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n", "550.54.15"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build  (u@h-2.4)  Thu Jan\n"
            "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n",
            "570.86.10",
        ),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  390.157  Wed Oct 12\n", "390.157"),
        ("GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n", "580.65.06"),
        (None, "580.65.06"),
    ],
)
def test_a_process_that_uses_cuda_asks_for_the_version_only_where_the_system_does_not_tell_it(
    driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, version: str
) -> None:
    driver(H200)
    for name, value in (("is_initialized", True), ("get_device_name", H200), ("get_device_capability", (9, 0))):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *_, value=value: value)
    if text is not None:
        (tmp_path / "version").write_text(text)
    monkeypatch.setattr("imgrec.cuda_probe.KERNEL_MODULE", tmp_path / "version")
    assert gpus.found() == gpus.Found(names=(H200,), capabilities=(9,), driver=version)
    assert gpus._asked.cache_info().misses == (version == "580.65.06"), "a process of its own answers"


@pytest.mark.parametrize(
    ("names", "visible", "handed_out"),
    [
        ([H200], None, ["0"]),
        ([H200] * 3, None, ["0", "1", "2"]),
        ([H200] * 3, "2,0", ["2", "0"]),
        ([H200] * 3, " 2 , 0 ", ["2", "0"]),
        ([H200] * 3, "1,-1,0", ["1"]),
        ([H200] * 3, "0,7,1", ["0"]),
        ([H200] * 2, "GPU-b,GPU-a", ["GPU-b", "GPU-a"]),
        ([H200] * 2, "GPU-b,nothing", ["GPU-b"]),
        ([H200] * 2, "", []),
        ([H200] * 2, "-1", []),
        ([H200] * 2, "NoDevFiles", []),
        ([MIG], None, ["0"]),
        ([MIG], "MIG-GPU-5c2a/7/0,MIG-GPU-5c2a/8/0", ["MIG-GPU-5c2a/7/0", "MIG-GPU-5c2a/8/0"]),
        ([MIG], "MIG-11aa, MIG-22bb,MIG-11aa,0", ["MIG-11aa", "MIG-22bb"]),
    ],
)
def test_processes_are_handed_out_what_cuda_would_show(
    driver: Callable[..., None], names: list[str], visible: str | None, handed_out: list[str]
) -> None:
    driver(*names, visible=visible)
    assert gpus.handed_out() == handed_out
    assert gpus.found().why_not is None


def test_several_devices_of_a_mig_instance_are_refused(driver: Callable[..., None]) -> None:
    driver(MIG, visible="MIG-11aa,MIG-22bb")
    with pytest.raises(UsageError, match=r"trainer\.devices must be 1 on a MIG instance \(NVIDIA A100-SXM4-40GB MIG"):
        check_hardware(compose(["data=digits", "trainer=ddp"]))
    check_hardware(compose(["data=digits", "trainer=ddp", "trainer.devices=1", "trainer.strategy=auto"]))


@pytest.mark.parametrize(
    ("text", "is_broken"),
    [
        ("CUDA error: uncorrectable ECC error encountered", True),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", True),
        ("CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors might be", True),
        ("CUDA error: no CUDA-capable device is detected", True),
        ("CUDA error: initialization error", True),
        ("CUDA error: system not yet initialized", True),
        ("CUDA error: unknown error", True),
        ("process 1 of the run failed: RuntimeError: CUDA error: unknown error", True),
        ("Unable to determine the device handle for GPU0000:01:00.0: GPU has fallen off the bus", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("CUDA error: device-side assert triggered", False),
        ("CUDA error: unspecified launch failure", False),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", False),
        ("an unknown error", False),
    ],
)
def test_errors_of_a_broken_gpu_are_told_from_those_of_a_program(
    driver: Callable[..., None], text: str, is_broken: bool
) -> None:
    error = ValueError("while a hook was called")
    error.__cause__ = RuntimeError(text)
    assert gpus.broken(error) is None, "a program asks for a GPU where there is none"
    driver(H200)
    assert gpus.broken(error) == (text.splitlines()[0] if is_broken else None)


def test_a_process_that_does_not_see_its_gpus_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.init", lambda: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    gpus.check_given(["0"])
    with pytest.raises(BrokenGpuError, match="CUDA must show 2 GPUs by this name, and shows 1"):
        gpus.check_given(["0", "1"])


@pytest.mark.parametrize("visible", ["MIG-11aa", "GPU-b", "0,0", "0", "", " ", "-1", ",0", "nothing"])
def test_a_machine_without_a_driver_has_no_gpu_whatever_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("imgrec.cuda_probe.KERNEL_MODULE", tmp_path / "none")
    monkeypatch.setattr(
        "imgrec.gpus._asked", lambda _: {"error": "libcuda.so.1: cannot open shared object file", "code": 0}
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.found() == gpus.Found()
    assert gpus.handed_out() == []
