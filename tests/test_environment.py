"""What a machine has, and what it is refused for."""

import pytest
import torch

from imgrec.config.compose import compose
from imgrec.environment import check_hardware
from imgrec.errors import UsageError
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
