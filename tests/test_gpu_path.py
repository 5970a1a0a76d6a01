"""Test the path of a training step on a GPU without one: nothing is copied to or from it, and nothing is waited for.

Tensors without values stand for those of a GPU (PyTorch's FakeTensorMode, cuda:0). PyTorch's backward pass needs a real
GPU for these, so that tensors of the device `meta`, which have no values either, take that part.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from imgrec import launch
from imgrec.config.root import Config
from imgrec.data.resident import ResidentBatches
from imgrec.data.source import MemoryImages
from imgrec.models.build import build
from imgrec.optim.build import build_optimizer
from imgrec.scores import Scores
from imgrec.training.averaging import Average

GPU = torch.device("cuda", 0)
CHOICES = [
    ("model=cnn", "optimizer=momentum", "augment=crop_flip"),
    ("model=cnn", "optimizer=muon", "augment=cutmix"),
    ("model=whitened_cnn", "optimizer=muon_sgd", "augment=mixup"),
    ("model=resnet18", "optimizer=adamw", "augment=none", "loss=label_smoothing"),
]


class Watch(TorchDispatchMode):
    """Notes what moves between devices, and what is read. A number that is read is 1, as there are no values."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[str] = []
        self.read = 0
        self.fused = 0
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if func is torch.ops.aten._local_scalar_dense.default:
            self.read += 1
            return 1
        self.products += name.startswith(("aten.mm", "aten.bmm", "aten.addmm", "aten.baddbmm"))
        if "_fused_" in name:  # PyTorch has no fake form of these kernels
            self.fused += 1
            outcome = None
        else:
            outcome = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, outcome)) if isinstance(each, Tensor)]
        # a CPU number of a formula goes along with the kernel's arguments; values of a device do not
        if len({each.device for each in tensors if each.ndim or each.device != torch.device("cpu")}) > 1:
            self.moved.append(name)
        return outcome


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let values be moved to a GPU that is none."""
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(nn.Module, "_apply", lambda self, fn, recurse=True: self)  # modules are made there
    # PyTorch 2.14 copies the values, which are not there, over other memory
    monkeypatch.setattr(FakeTensor, "__deepcopy__", _copied, raising=False)


def _copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    copied: Tensor = memo.setdefault(id(tensor), torch.empty_like(tensor, requires_grad=tensor.requires_grad))
    return copied


def network_of(config: Config, device: torch.device) -> nn.Module:
    with device:
        return build(
            config.model, num_classes=10, image_size=32, channels=3, mean=[0.5] * 3, std=[0.5] * 3, fetch=False
        ).train()


@pytest.mark.filterwarnings("ignore:Accessing the data pointer")
@pytest.mark.usefixtures("gpu", "workplace")
@pytest.mark.parametrize("choices", CHOICES, ids="-".join)
@pytest.mark.long
def test_a_step_neither_copies_nor_waits(choices: tuple[str, ...]) -> None:
    config = launch.compose(["data=cifar10", *choices])
    pixels_nchw, labels_n = np.zeros((40, 3, 32, 32), np.uint8), np.arange(40) % 10
    images = MemoryImages(torch.from_numpy(pixels_nchw), torch.from_numpy(labels_n))
    with FakeTensorMode(allow_non_fake_inputs=True):
        batches = ResidentBatches(
            images,
            device=GPU,
            augment=config.augment,
            num_classes=10,
            batch_size=16,
            seed=0,
            rank=0,
            world_size=1,
        )
        network, loss = network_of(config, GPU), config.loss.build()
        optimizer = build_optimizer(config.optimizer, network)
        average = Average(network, device=GPU, decay=0.9)
        with GPU:
            scores = Scores(10)
        for number in range(3):
            with Watch() as watch:
                images_nchw, targets = batches[0, number]
                if number:  # the epoch's order and augmentation are copied with its first batch
                    assert watch.moved == []
                watch.moved.clear()
                logits_nk = network(images_nchw)
                value = loss(logits_nk, targets)
                scores.update(logits_nk, targets, value)
                for parameter in network.parameters():
                    parameter.grad = torch.empty_like(parameter)
                optimizer.step()
                average.update_parameters(network)
                assert {each.device for each in (images_nchw, targets, logits_nk, value)} == {GPU}
            assert watch.moved == []
            assert watch.read == (number == 0), "the average asks once whether it has begun"
            assert watch.fused, "Muon's other parameters included"
        with Watch() as watch:
            scores.count()
        assert (watch.moved, watch.read) == ([], 0)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("choices", CHOICES, ids="-".join)
def test_a_backward_pass_neither_copies_nor_waits(choices: tuple[str, ...]) -> None:
    config = launch.compose(["data=cifar10", *choices])
    device = torch.device("meta")
    network, loss = network_of(config, device), config.loss.build()
    targets = torch.empty(16, 10, device=device)
    with Watch() as watch:
        loss(network(torch.empty(16, 3, 32, 32, device=device)), targets).backward()
    assert all(each.grad is not None for each in network.parameters() if each.requires_grad)
    assert (watch.moved, watch.read) == ([], 0)


@pytest.mark.usefixtures("gpu", "workplace")
@pytest.mark.long
def test_filters_of_one_shape_are_multiplied_together() -> None:
    """A product of each filter would be a kernel of its own: 20 filters of ResNet-18 have 11 shapes."""
    config = launch.compose(["data=cifar10", "model=resnet18", "optimizer=muon", "optimizer.ns_steps=1"])
    with FakeTensorMode():
        network = network_of(config, GPU)
        optimizer = build_optimizer(config.optimizer, network)
        for parameter in network.parameters():
            parameter.grad = torch.empty_like(parameter)
        with Watch() as watch:
            optimizer.step()
    shapes = {each.shape for each in network.parameters() if each.ndim == 4}
    assert len(shapes) == 11
    assert watch.products == 3 * len(shapes), "three products an iteration"
