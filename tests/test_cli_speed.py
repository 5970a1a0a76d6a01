"""Test what the command line imports before it has something to compute, as an answer must not wait for torch."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "torchmetrics", "lightning", "sklearn", "scipy", "matplotlib", "tensorboard"}
COMPOSING = {"hydra", "omegaconf"}  # half a second: only for those who compose a configuration

# the last line of stdout: which packages the command loaded
_PROBE = """
import json, sys
from imgrec.cli import main
sys.argv = ["imgrec", *sys.argv[1:]]
try:
    main()
finally:
    print("\\n" + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_by(*arguments: str) -> tuple[int, set[str]]:
    """The exit code of `imgrec ARGUMENTS` in a process of its own, and the top-level packages that it loaded."""
    done = subprocess.run([sys.executable, "-c", _PROBE, *arguments], capture_output=True, text=True, timeout=120)
    return done.returncode, set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["evaluate", "--help"], ["verify", "--help"]])
def test_general_answers_load_neither_torch_nor_hydra(arguments: list[str]) -> None:
    code, loaded = loaded_by(*arguments)
    assert code == 0
    assert not loaded & (HEAVY | COMPOSING)


def test_the_list_of_keys_loads_no_torch() -> None:
    code, loaded = loaded_by("train", "--help")
    assert code == 0
    assert not loaded & HEAVY


@pytest.mark.parametrize("override", ["model=resnet5O", "optimizer.lr=-1", "optimizer.learning_rate=0.1"])
@pytest.mark.long
def test_a_bad_value_is_refused_without_torch(override: str) -> None:
    code, loaded = loaded_by("train", override)
    assert code == 2
    assert not loaded & HEAVY
