"""airbench94_muon, a published recipe to 94 % on CIFAR-10, as a plain PyTorch script: what speed94 is held against.

    python experiments/speed/published.py --data-root DIR [--seed 0] [--epochs 8] [--device cpu]

The ideas are Jordan 2024's (arXiv 2404.00498, section 3) and Jordan et al. 2024's (Muon, kellerjordan.github.io/posts/
muon); the settings are those of airbench94_muon.py in the repository KellerJordan/cifar10-airbench (MIT licence): patch
whitening, identity initialisation, batch normalisation without scale, Muon on filters of constant norm, SGD for the
rest, label smoothing 0.2, alternating flips, shifts by up to 2 px, six views at test time; 8 epochs of batches of 2000.
Nothing of imgrec is used but the reader of CIFAR-10's files. Otherwise than there: weights in float32 and bfloat16 by
autocast, where the original holds them in float16, and no torch.compile. Channels last.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgrec.components.data.cifar10 import Cifar10
from imgrec.config.data import default_root
from imgrec.data import cifar10

BATCH, EPOCHS, SMOOTHING, SHIFT = 2000, 8.0, 0.2, 2
WHITEN_BIAS_EPOCHS = 3  # afterwards the first layer's bias is fixed
BIAS_LR, HEAD_LR, DECAY, MOMENTUM = 0.053, 0.67, 2e-6 * BATCH, 0.85  # of the loss summed over a batch
MUON_LR, MUON_MOMENTUM, MUON_STEPS = 0.24, 0.6, 3
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
VIEWS_BATCH = 1000


class Block(nn.Module):
    """Convolution, pooling, norm, activation; convolution, norm, activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm1, self.norm2 = (nn.BatchNorm2d(outputs, eps=1e-12, momentum=0.4) for _ in range(2))
        for conv in (self.conv1, self.conv2):
            nn.init.dirac_(conv.weight.data[: conv.in_channels])
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class Net(nn.Module):
    """Whitening, three blocks, the largest value of each feature, the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        self.blocks = nn.Sequential(Block(24, 64), Block(64, 256), Block(256, 256))
        self.head = nn.Linear(256, 10, bias=False)
        self.head.weight.data /= self.head.weight.data.std()

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x: Tensor, train_bias: bool = True) -> Tensor:
        bias = self.whiten.bias
        assert bias is not None
        x = F.gelu(F.conv2d(x, self.whiten.weight, bias if train_bias else bias.detach()))
        logits: Tensor = self.head(F.max_pool2d(self.blocks(x), 3).flatten(1)) / 256
        return logits


def orthogonal(matrix: Tensor) -> Tensor:
    """Newton-Schulz iteration (Jordan et al. 2024)."""
    x: Tensor = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    for _ in range(MUON_STEPS):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


class Optimizers:
    """Muon for the blocks' filters, SGD for the rest, both with rates that fall to zero along a line."""

    def __init__(self, net: Net, steps: int, bias_steps: int) -> None:
        self.net, self.steps, self.bias_steps = net, steps, bias_steps
        self.filters = [p for p in net.parameters() if p.ndim == 4 and p.requires_grad]
        self.buffers = [torch.zeros_like(p) for p in self.filters]
        norms = [p for name, p in net.named_parameters() if "norm" in name and p.requires_grad]
        self.rates = (BIAS_LR, BIAS_LR, HEAD_LR)
        groups: list[dict[str, Any]] = [
            {"params": params, "lr": lr, "weight_decay": DECAY / lr}
            for params, lr in zip(([net.whiten.bias], norms, [net.head.weight]), self.rates, strict=True)
        ]
        self.sgd = torch.optim.SGD(groups, lr=0.1, momentum=MOMENTUM, nesterov=True, fused=True)

    @torch.no_grad()
    def step(self, number: int) -> None:
        share = 1 - number / self.steps
        shares = (max(0.0, 1 - number / self.bias_steps), share, share)
        for group, rate, its in zip(self.sgd.param_groups, self.rates, shares, strict=True):
            group["lr"] = rate * its
        self.sgd.step()
        for p, buffer in zip(self.filters, self.buffers, strict=True):
            assert p.grad is not None
            buffer.mul_(MUON_MOMENTUM).add_(p.grad)
            ahead = p.grad.add(buffer, alpha=MUON_MOMENTUM)
            p.mul_(len(p) ** 0.5 / p.norm())
            p.add_(orthogonal(ahead.flatten(1)).view_as(p), alpha=-MUON_LR * share)
        self.net.zero_grad()


class Images:
    """CIFAR-10 on the device, normalised; batches of an epoch, shifted and mirrored."""

    def __init__(self, root: str, device: torch.device) -> None:
        source = cifar10.load(Cifar10(root=root, val_size=0, download=False))
        test = source.open_test()
        assert test is not None
        (self.train, self.train_labels), (self.test, self.test_labels) = (
            (self._normalised(part.read(torch.arange(len(part)))[0].to(device)), part.labels.to(device))
            for part in (source.train, test)
        )
        self._padded = F.pad(self.train, (SHIFT,) * 4, mode="reflect")
        self._mirrored = torch.rand(len(self.train), device=device) < 0.5

    def first(self, count: int) -> None:
        """Keep only the first training images."""
        self.train, self.train_labels = self.train[:count], self.train_labels[:count]
        self._padded, self._mirrored = self._padded[:count], self._mirrored[:count]

    @staticmethod
    def _normalised(images: Tensor) -> Tensor:
        mean, std = (torch.tensor(x, device=images.device).view(1, 3, 1, 1) for x in (MEAN, STD))
        return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.train.device
        order = torch.randperm(len(self.train), device=device)
        windows = self._padded.unfold(2, 32, 1).unfold(3, 32, 1)  # (N, C, rows of shifts, columns of shifts, 32, 32)
        for at in range(0, len(order) - BATCH + 1, BATCH):
            indices = order[at : at + BATCH]
            shift = torch.randint(0, 2 * SHIFT + 1, (2, BATCH), device=device)
            batch = windows[indices, :, shift[0], shift[1]]
            mirror = self._mirrored[indices] ^ bool(number % 2)
            batch = torch.where(mirror[:, None, None, None], batch.flip(-1), batch)
            yield batch.contiguous(memory_format=torch.channels_last), self.train_labels[indices]


class Training:
    """One run, a step at a time."""

    def __init__(self, images: Images, *, epochs: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.images = images
        self.device = images.train.device
        self.net = Net().to(self.device).to(memory_format=torch.channels_last).train()
        self.net.initialise(images.train[:5000])
        per_epoch = len(images.train) // BATCH
        self.total = round(epochs * per_epoch)
        self.bias_steps = WHITEN_BIAS_EPOCHS * per_epoch
        self.optimizers = Optimizers(self.net, self.total, self.bias_steps)
        self.number = 0

    def steps(self) -> Iterator[int]:
        """Train; yields the number of images after each step."""
        epoch = 0
        while self.number < self.total:
            for batch, labels in self.images.epoch(epoch):
                with torch.autocast(self.device.type, torch.bfloat16):
                    logits = self.net(batch, train_bias=self.number < self.bias_steps)
                F.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING, reduction="sum").backward()  # type: ignore[no-untyped-call]
                self.optimizers.step(self.number)
                self.number += 1
                yield len(labels)
                if self.number == self.total:
                    break
            epoch += 1

    @torch.no_grad()
    def accuracy(self) -> float:
        """On the test set: the mean over mirrored and shifted views (section 3.5)."""
        self.net.eval()
        padded = F.pad(self.images.test, (1, 1, 1, 1), mode="reflect")
        views = ((1, 1, 0.25), (0, 0, 0.125), (2, 2, 0.125))
        hits = 0
        with torch.autocast(self.device.type, torch.bfloat16):
            for batch, labels in zip(
                padded.split(VIEWS_BATCH),  # type: ignore[no-untyped-call]
                self.images.test_labels.split(VIEWS_BATCH),  # type: ignore[no-untyped-call]
                strict=True,
            ):
                logits = torch.zeros(len(batch), 10, device=self.device)
                for top, left, weight in views:
                    view = batch[:, :, top : top + 32, left : left + 32].contiguous(memory_format=torch.channels_last)
                    logits += weight * (self.net(view).float() + self.net(view.flip(-1)).float())
                hits += int((logits.argmax(1) == labels).sum())
        return hits / len(padded)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", default=default_root(), help="holds cifar-10-batches-py (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    images = Images(str(Path(arguments.data_root).expanduser()), torch.device(arguments.device))
    began = time.perf_counter()
    training = Training(images, epochs=arguments.epochs, seed=arguments.seed)
    for _ in training.steps():
        if training.number % 25 == 0:
            print(f"step {training.number}/{training.total}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    if arguments.device != "cpu":
        torch.cuda.synchronize()  # or the clock would run ahead of the device
    trained = time.perf_counter()
    accuracy = training.accuracy()
    print(
        json.dumps(
            {
                "seed": arguments.seed,
                "epochs": arguments.epochs,
                "top1": accuracy,
                "train_seconds": round(trained - began, 1),
                "test_seconds": round(time.perf_counter() - trained, 1),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
