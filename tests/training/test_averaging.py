"""Test that the moving average of the weights is bit-equal to PyTorch's, and does not wait for the device."""

import copy
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from reads_back import ReadsBack
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, update_bn
from torch.utils._python_dispatch import TorchDispatchMode

from imgrec import assembly
from imgrec.config.compose import compose
from imgrec.training import callback_list
from imgrec.training.averaging import Average, Averaging, count_statistics


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, 7)).train()


def step(module: nn.Module) -> None:
    """Change every weight, and every buffer, whole numbers included."""
    module(torch.randn(2, 3, 4, 4))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))


class Multiplies(TorchDispatchMode):
    """Counts the tensors of whole numbers that are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "mul" in str(func):
            tensors = args[0] if isinstance(args[0], list) else [args[0]]
            self.count += sum(not each.is_floating_point() for each in tensors)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_it_is_pytorchs_own_to_the_bit(decay: float) -> None:
    module = network()
    own = Average(module, device=torch.device("cpu"), decay=decay)
    theirs = AveragedModel(module, avg_fn=get_ema_avg_fn(decay), use_buffers=True)
    for _ in range(4):
        step(module)
        own.update_parameters(module)
        theirs.update_parameters(module)
    expected, found = theirs.state_dict(), own.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not torch.equal(found["module.0.weight"], module.state_dict()["0.weight"])


def test_it_goes_on_from_a_stored_one() -> None:
    module = network()
    straight = Average(module, device=torch.device("cpu"), decay=0.9)
    step(module)
    straight.update_parameters(module)
    resumed = Average(module, device=torch.device("cpu"), decay=0.9)
    resumed.load_state_dict(straight.state_dict())
    step(module)
    straight.update_parameters(module)
    resumed.update_parameters(module)
    expected = straight.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


def test_steps_read_nothing_back_from_the_device() -> None:
    module = network()
    average = Average(module, device=torch.device("cpu"), decay=0.9)
    average.update_parameters(module)
    with ReadsBack() as reads:
        average.update_parameters(module)
    assert reads.count == 0


def test_whole_numbers_take_one_kernel_for_all_layers() -> None:
    """Each batch-norm layer counts its batches, and PyTorch's lists of whole numbers take a kernel for each."""
    launches = []
    for layers in (2, 20):
        module = nn.Sequential(*(nn.BatchNorm2d(3) for _ in range(layers)))
        average = Average(module, device=torch.device("cpu"), decay=0.9)
        average.update_parameters(module)
        with Multiplies() as counted:
            average.update_parameters(module)
        launches.append(counted.count)
    assert launches[0] == launches[1] > 0


def test_recomputed_statistics_are_pytorchs_own_to_the_bit() -> None:
    module, batches = network(), [torch.randn(4, 3, 4, 4) for _ in range(3)]
    step(module)
    expected = copy.deepcopy(module)
    update_bn([(each,) for each in batches], expected)
    modes = [each.training for each in module.eval().modules()]
    count_statistics(module, iter(batches))
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(module.state_dict()[name], expected.state_dict()[name])
    assert [each.training for each in module.modules()] == modes
    norm = module[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert (norm.momentum, norm.num_batches_tracked) == (0.1, 1)


def test_recomputing_statistics_draws_no_random_numbers() -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(5), nn.Dropout()).train()
    module.register_parameter("weight", nn.Parameter(torch.ones(1)))
    before = torch.get_rng_state()
    count_statistics(module, iter([torch.randn(8, 5, generator=torch.Generator().manual_seed(1))]))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_average_lies_where_the_network_will_be_trained() -> None:
    """Lightning moves the network later: at this time it is still on the CPU."""
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")))
    module = lightning.LightningModule()
    module.net = network()
    averaging = Averaging(decay=0.9)
    averaging.setup(trainer, module, "fit")
    assert averaging._average_model is not None
    assert {tensor.device.type for tensor in averaging._average_model.parameters()} == {"meta"}
    assert {tensor.device.type for tensor in module.parameters()} == {"cpu"}


def test_statistics_are_recomputed_from_as_many_images_however_the_processes_are_spread(
    tiny: list[str],
) -> None:
    ema = ["trainer.ema_decay=0.9", "trainer.ema_statistics=recomputed", "trainer.strategy=ddp"]
    counted = []
    for devices, nodes in ((1, 1), (4, 1), (2, 2)):
        config = compose([*tiny, *ema, f"trainer.devices={devices}", f"trainer.num_nodes={nodes}"])
        (averaging,) = callback_list._averaging(config, assembly.datamodule(config, assembly.source(config)))
        counted.append(averaging._batches * devices * nodes * config.data.batch_size)
    assert [round(count, -3) for count in counted] == [10_000] * 3
