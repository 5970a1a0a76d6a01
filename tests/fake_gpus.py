"""A fake NVIDIA driver, for PyTorch's count of GPUs and for the process that asks the driver (`imgrec.cuda_probe`)."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from imgrec import gpus

# For every Python process that is started, before anything else.
DRIVER = """
import ctypes, json, os

class Function:
    def __init__(self, call):
        self.call = call
    def __call__(self, *arguments):
        return self.call(*arguments) or 0

def put(place, value):
    place._obj.value = value

class Driver:
    def __init__(self, said):
        self.said = said
    def __getattr__(self, name):
        return getattr(type(self), "_" + name).__get__(self)
    def _nvmlInit_v2(self):
        return 0
    def _nvmlSystemGetDriverVersion(self, text, size):
        text.value = self.said["driver"].encode()
        return 0
    def _cuDriverGetVersion(self, number):
        put(number, self.said["cuda"])
        return 0
    def _cuInit(self, flags):
        return self.said["code"]
    def _cuGetErrorString(self, code, text):
        put(text, self.said["error"].encode())
        return 0
    def _shown(self):
        # of MIG instances CUDA shows the first that CUDA_VISIBLE_DEVICES names; the rest is as in CUDA's guide
        names = self.said["gpus"]
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        if given is None:
            return names
        if given.startswith("MIG-"):
            return names[:1]
        found = []
        for name in given.split(","):
            name, uuids = name.strip(), self.said["uuids"]
            place = int(name) if name.isdigit() else uuids.index(name) if name in uuids else -1
            if not 0 <= place < len(names):
                break
            found.append(names[place])
        return found
    def _cuDeviceGetCount(self, number):
        put(number, len(self._shown()))
        return 0
    def _cuDeviceGet(self, device, place):
        put(device, place)
        return 0
    def _cuDeviceGetName(self, text, size, device):
        text.value = self._shown()[device.value].encode()
        return 0
    def _cuDeviceGetAttribute(self, number, what, device):
        put(number, self.said["capability"][what - 75])
        return 0

if os.environ.get("FAKE_DRIVER"):
    said, real = json.loads(os.environ["FAKE_DRIVER"]), ctypes.CDLL
    ctypes.CDLL = lambda name, *rest, **words: (
        Driver(said) if name in ("libcuda.so.1", "libnvidia-ml.so.1") else real(name, *rest, **words)
    )
"""


def install(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *names: str,
    visible: str | None = None,
    driver: str = "580.65.06",
    cuda: int = 13000,
    error: tuple[int, str] = (0, ""),
    capability: tuple[int, int] = (9, 0),
    uuids: Sequence[str] = ("GPU-a", "GPU-b", "GPU-c"),
) -> None:
    """Give this process, and those that it starts, GPUs of these names. Nothing can be computed on them.

    visible: CUDA_VISIBLE_DEVICES. cuda: the newest version that the driver supports. error: what cuInit ends with.
    """
    said = {"driver": driver, "cuda": cuda, "code": error[0], "error": error[1], "gpus": names}
    (folder / "driver").mkdir(exist_ok=True)
    (folder / "driver" / "sitecustomize.py").write_text(DRIVER)
    monkeypatch.setenv("PYTHONPATH", str(folder / "driver"))
    monkeypatch.setenv("FAKE_DRIVER", json.dumps({**said, "capability": capability, "uuids": uuids}))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    # as NVML, which is not asked again where CUDA_VISIBLE_DEVICES hides all GPUs
    monkeypatch.setattr(
        "torch.cuda.device_count", lambda: 0 if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") else len(names)
    )
    monkeypatch.setattr("torch.version.cuda", "13.0")
    gpus._asked.cache_clear()
