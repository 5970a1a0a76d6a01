"""Ask the NVIDIA driver which GPUs CUDA shows to a process, and print the answer as JSON.

`imgrec.gpus` runs this file in a process of its own, as asking initialises CUDA there. Only the standard library is
imported, so that it takes a fraction of a second.
"""

import contextlib
import ctypes
import json
import re
from pathlib import Path
from typing import Any

KERNEL_MODULE = Path("/proc/driver/nvidia/version")  # exists where the driver's kernel module is loaded
_VERSION = re.compile(r"^NVRM version: .*?\s(\d+\.\d+(?:\.\d+)?)(?:\s|$)", re.MULTILINE)
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_LONGEST = 256  # characters of a name or a version


def look() -> dict[str, Any]:
    """Return what the driver says.

    Returns:
        driver: The driver's version, such as "580.65.06"; None where it is unknown.
        cuda: The newest version of CUDA that the driver supports, such as 13000 for 13.0; None where it is unknown.
        error: Why CUDA shows no GPU, with `code`, CUDA's number of the error, 0 where there is no CUDA to ask; None if
            it shows some.
        gpus: For each GPU that CUDA shows, in its order: name, major and minor number of its compute capability.
    """
    said: dict[str, Any] = {"driver": _driver(), "cuda": None, "error": None, "code": 0, "gpus": []}
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return said | {"error": str(error)}
    number = ctypes.c_int(0)
    if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0:
        said["cuda"] = number.value
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(number))
    if code:
        return said | {"error": _text(cuda, code), "code": code}
    for place in range(number.value):
        device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
        name = ctypes.create_string_buffer(_LONGEST)
        code = (
            cuda.cuDeviceGet(ctypes.byref(device), place)
            or cuda.cuDeviceGetName(name, _LONGEST, device)
            or cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
            or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
        )
        if code:
            return said | {"error": _text(cuda, code), "code": code, "gpus": []}
        said["gpus"].append([name.value.decode(errors="replace"), major.value, minor.value])
    return said


def _text(cuda: ctypes.CDLL, code: int) -> str:
    """Return CUDA's words for an error."""
    text = ctypes.c_char_p()
    if cuda.cuGetErrorString(code, ctypes.byref(text)) == 0 and text.value:
        return text.value.decode(errors="replace")
    return "an error without a name"


def _driver() -> str | None:
    """Return the driver's version, from its management library, else from its kernel module."""
    text = ctypes.create_string_buffer(_LONGEST)
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() == 0 and library.nvmlSystemGetDriverVersion(text, _LONGEST) == 0:
            return text.value.decode(errors="replace")
    return module_version()


def module_version() -> str | None:
    """Return the version of the driver's kernel module, such as "580.65.06"; None where the system does not tell it."""
    try:
        found = _VERSION.search(KERNEL_MODULE.read_text(errors="replace"))
    except OSError:
        return None
    return found.group(1) if found else None


if __name__ == "__main__":
    print(json.dumps(look()))
