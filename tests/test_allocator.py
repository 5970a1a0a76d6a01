"""Freed memory stays with the process, asked in a process of its own: it is a setting of the whole process."""

import subprocess
import sys

import pytest

PROBE = """
import resource, sys
import torch
from imgrec.allocator import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    print("none")
    raise SystemExit
for _ in range(10):
    torch.ones(16, 1024, 1024)  # 64 MiB, above what glibc keeps by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16, 1024, 1024)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROBE, mode], capture_output=True, text=True, check=True)
    if done.stdout.strip() == "none":
        pytest.skip("this C library is not glibc")
    return int(done.stdout)


def test_a_large_tensor_is_paid_for_page_by_page_only_once() -> None:
    assert page_faults("keep") < 100
    assert page_faults("give") > 1000, "the measure must be able to tell"
