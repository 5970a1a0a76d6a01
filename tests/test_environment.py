"""What a machine has, and what it is refused for."""

import pytest
import torch

from imgrec import environment
from imgrec.config.compose import compose
from imgrec.environment import check_hardware, slow_arithmetic
from imgrec.errors import UsageError
from imgrec.matrix_units import bfloat16_slowdown, sums_in_float32
from imgrec.optim.orthogonal import working_type


@pytest.fixture
def old_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that computes in bfloat16 only by emulation, as far as PyTorch tells."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trainer.precision=bf16-mixed"], r"trainer\.precision=bf16-mixed needs a GPU of compute capability 8\.0"),
        (["test_precision=bf16"], r"test_precision=bf16 needs a GPU .* emulates bfloat16; use test_precision=32"),
    ],
)
@pytest.mark.usefixtures("old_gpu")
def test_a_gpu_that_emulates_bfloat16_is_not_asked_for_it(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        check_hardware(compose(["data=digits", *words]))


@pytest.mark.usefixtures("old_gpu")
def test_such_a_gpu_trains_in_other_arithmetic_and_a_cpu_beside_it_in_any() -> None:
    check_hardware(compose(["data=digits", "trainer.precision=16-mixed"]))
    check_hardware(compose(["data=digits", "trainer=cpu", "trainer.precision=bf16-mixed", "test_precision=bf16"]))
    assert working_type(torch.device("cuda")) == torch.float32


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["trainer.precision=bf16-mixed"], ["trainer.precision=32"]),
        (["test_precision=bf16"], ["test_precision=32"]),
        (["experiment=speed94"], ["trainer.precision=32", "test_precision=32"]),
        (["experiment=cnn_strong"], ["trainer.precision=32"]),
        (["trainer.precision=32"], []),
    ],
)
def test_a_cpu_that_emulates_bfloat16_says_the_factor_and_the_key_to_give(
    words: list[str], named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(["trainer.accelerator=cpu", *words])
    monkeypatch.setattr(environment, "bfloat16_slowdown", lambda: 31.96)
    warnings = slow_arithmetic(config)
    assert [warning.partition("; ")[2] for warning in warnings] == [f"{key} is faster" for key in named]
    assert all("32.0 times as long in bfloat16 as in float32 on this CPU" in warning for warning in warnings)
    for key in named:  # the way out
        config = compose(["trainer.accelerator=cpu", *words, *named])
        assert slow_arithmetic(config) == [], key
    monkeypatch.setattr(environment, "bfloat16_slowdown", lambda: 0.4)
    assert slow_arithmetic(compose(["trainer.accelerator=cpu", *words])) == []


def test_the_factor_tells_a_cpu_that_emulates_bfloat16() -> None:
    """Emulated, it is about 30 here; otherwise at most about 1."""
    assert (bfloat16_slowdown() < 3) is sums_in_float32()
