"""Test that the tests of numbers also pass on a CPU without AVX-512."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parent
# PyTorch's own kernels, and oneDNN's, are chosen as on such a CPU. Its digits differ, and it emulates bfloat16.
WITHOUT_AVX512 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
NUMBERS = (
    "models",
    "optim",
    "test_losses.py",
    "test_scores.py",
    "test_measurement.py",
    "test_environment.py::test_the_factor_tells_a_cpu_that_emulates_bfloat16",
    "test_assembly.py::test_a_rebuilt_network_gives_the_bits_of_the_saved_one",
    "test_cli.py::test_evaluate_clean_gives_the_numbers_of_the_record",
    "training/test_resume.py::test_a_run_interrupted_between_two_checkpoints_goes_on_from_a_step",
)


@pytest.mark.slow
@pytest.mark.timeout(900)  # as long as three tests: it is many
def test_the_tests_of_numbers_pass_as_on_a_cpu_without_avx512() -> None:
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        pytest.skip("this CPU has no AVX-512: this suite itself is the test")
    places = [str(TESTS / name) for name in NUMBERS]
    words = ["-m", "not slow", "-n", "0", "-p", "no:cacheprovider", f"--ignore={TESTS / 'models/test_pretrained.py'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *places],
        env={**os.environ, **WITHOUT_AVX512},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
