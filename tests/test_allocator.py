"""Test that a process keeps freed memory, in a separate process, as the setting affects the whole process."""

import subprocess
import sys

import pytest

PROBE = """
import resource
import torch
from imgrec.allocator import keep_freed_memory

def page_faults():
    for _ in range(10):
        torch.ones(16, 1024, 1024)  # 64 MiB, above what glibc keeps by itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16, 1024, 1024)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = page_faults()
print(given_back, page_faults() if keep_freed_memory() else "not glibc")
"""


@pytest.mark.long
def test_a_large_tensor_is_paid_for_page_by_page_only_once() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    given_back, _, kept = done.stdout.strip().partition(" ")
    if kept == "not glibc":
        pytest.skip("this C library is not glibc")
    assert int(given_back) > 1000, "the measure must be able to tell"
    assert int(kept) < 100
