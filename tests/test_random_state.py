"""Test the random state of a process that trains on a GPU. A stub stands for the generators of several GPUs."""

from dataclasses import replace

import pytest
import torch

from imgrec.stored.random_state import RandomState

GPU = torch.device("cuda", 1)


@pytest.fixture
def generators(monkeypatch: pytest.MonkeyPatch) -> dict[int, torch.Tensor]:
    """Return the states of three GPUs' generators, by index, which the test may change."""
    states = {index: torch.full((16,), index, dtype=torch.uint8) for index in range(3)}

    def place(device: torch.device) -> int:
        return torch.device(device).index or 0

    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[place(device)].clone())
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: states.__setitem__(place(device), state.clone())
    )
    return states


def test_the_state_of_the_own_gpu_goes_along_however_many_there_are(generators: dict[int, torch.Tensor]) -> None:
    plain = RandomState.now(GPU).to_plain()
    assert [each.tolist() for each in plain["cuda"]] == [[1] * 16]
    for device in (GPU, torch.device("cuda", 0)):  # the other stands for a machine with one GPU
        generators[device.index] = torch.full((16,), 9, dtype=torch.uint8)
        assert RandomState.from_plain(plain).restore(device)
        assert generators[device.index].tolist() == [1] * 16
    assert generators[2].tolist() == [2] * 16


def test_older_states_of_all_visible_gpus_give_that_of_the_rank(generators: dict[int, torch.Tensor]) -> None:
    older = replace(RandomState.now(torch.device("cpu")), cuda=tuple(generators[index].clone() for index in range(3)))
    assert older.restore(torch.device("cuda", 0), rank=2)
    assert generators[0].tolist() == [2] * 16
    alone = replace(older, cuda=older.cuda[:1])
    assert alone.restore(GPU, rank=1)
    assert generators[1].tolist() == [0] * 16


@pytest.mark.long
def test_a_state_of_a_cpu_leaves_the_gpus_generator_and_says_so(generators: dict[int, torch.Tensor]) -> None:
    assert not RandomState.now(torch.device("cpu")).restore(GPU)
    assert generators[1].tolist() == [1] * 16


def test_a_cpu_asks_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question would start CUDA, which takes seconds and memory of each GPU."""
    for name in ("get_rng_state", "set_rng_state", "get_rng_state_all", "is_available"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: pytest.fail("a GPU was asked"))
    cpu = torch.device("cpu")
    first = RandomState.now(cpu)
    drawn = torch.rand(3)
    assert first.restore(cpu)
    assert torch.equal(torch.rand(3), drawn)
