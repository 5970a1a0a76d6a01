"""Test training with CUDA graphs (`trainer.graphs`), which no CPU has, with a stand-in for PyTorch's function."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_progressive import GROWING
from torch import Tensor, nn

from imgrec import launch
from imgrec.curve_file import read_curves
from imgrec.errors import UsageError
from imgrec.models.graphed import Graphed

RUNS = {
    "growing": (*GROWING, "trainer.max_epochs=2", "trainer.ema_decay=0.8", "trainer.accumulate=3"),
    "mixed": (
        "model=cnn",
        "model.batch_norm=true",
        "model.dropout=0.3",
        "optimizer=muon",
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip=1",
        "trainer.nonfinite_skips=2",
        "trainer.ema_decay=0.8",
        "trainer.ema_statistics=recomputed",
        "trainer.max_epochs=2",
    ),
}


class Graphs:
    """Stands in for torch.cuda.make_graphed_callables, and does on the CPU what graphs do.

    Warm-up passes change statistics and random states. A pass computes on copies of its inputs, in the arithmetic of
    its capture, and overwrites the logits and gradients of the pass before.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(
        self,
        callables: Callable[..., Tensor],
        sample_args: tuple[Tensor, ...],
        num_warmup_iters: int = 3,
        capture_error_mode: str = "global",
    ) -> Callable[..., Tensor]:
        assert not (torch.is_autocast_enabled("cpu") and torch.is_autocast_cache_enabled())
        assert capture_error_mode == "thread_local", "another thread may pin batches"
        arithmetic = (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))
        images, weights = sample_args[0], [each for each in sample_args if each.requires_grad]
        assert images.is_contiguous(memory_format=torch.channels_last)
        for _ in range(num_warmup_iters):
            out = callables(*sample_args)
            torch.autograd.grad(out, weights, torch.empty_like(out))
        self.shapes.append(tuple(images.shape))
        logits, gradient = torch.empty_like(out), torch.empty_like(out)
        gradients = [torch.empty_like(weight) for weight in weights]
        passed: list[Tensor] = []

        class Pass(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *given: Tensor) -> Tensor:
                for own, its in zip(sample_args, given, strict=True):
                    if own.data_ptr() != its.data_ptr():
                        own.detach().copy_(its)
                enabled, dtype = arithmetic
                with torch.enable_grad(), torch.autocast("cpu", dtype=dtype, enabled=enabled, cache_enabled=False):
                    passed[:] = [callables(*sample_args)]
                return logits.copy_(passed[0].detach()).detach()

            @staticmethod
            def backward(ctx: Any, *given: Tensor) -> Any:
                gradient.copy_(given[0])
                for own, made in zip(gradients, torch.autograd.grad(passed[0], weights, gradient), strict=True):
                    own.copy_(made)
                made_of = iter(gradients)
                return tuple(next(made_of).detach() if each.requires_grad else None for each in sample_args)

        return lambda *given: Pass.apply(*given)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    stand_in = Graphs()
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", stand_in)
    for module in ("imgrec.environment", "imgrec.training.run"):
        monkeypatch.setattr(f"{module}.check_hardware", lambda config: None)
    return stand_in


@pytest.mark.parametrize("case", RUNS)
@pytest.mark.long
def test_a_run_with_graphs_is_the_plain_one(tiny: list[str], graphs: Graphs, case: str) -> None:
    """The last batch of an epoch has 4 images, and is no graph's."""
    own = [word for word in tiny if not word.startswith(("model", "optimizer", "augment"))]
    words = [*own, *RUNS[case]]
    plain = launch.train(words)
    assert graphs.shapes == []
    graphed = launch.train([*words, "trainer.graphs=true"])
    assert graphs.shapes == [(8, 3, side, side) for side in ((5, 6, 8) if case == "growing" else (8,))]
    assert graphed.folder != plain.folder
    assert graphed.record.weights == plain.record.weights
    assert graphed.record.scores == plain.record.scores
    assert logged(graphed.folder) == logged(plain.folder)


def logged(folder: Path) -> list[tuple[str, str, str]]:
    rows = read_curves(folder / "curves.csv")
    return [(row["step"], row["metric"], row["value"]) for row in rows if row["metric"] != "images_per_second"]


class Net(nn.Module):
    """Logits of the mean pixel; what else it does is a test's."""

    def __init__(self, act: Callable[["Net"], object] = lambda net: None) -> None:
        super().__init__()
        self.act, self.calls, self.rate = act, 0, 1.0
        self.classes = nn.Linear(3, 2)

    def forward(self, images_nchw: Tensor) -> Tensor:
        self.act(self)
        logits_nk: Tensor = self.classes(images_nchw.mean(dim=(2, 3))) * self.rate
        return logits_nk


def batch(number: int = 0) -> Tensor:
    made = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(number))
    return made.contiguous(memory_format=torch.channels_last)


def test_logits_and_gradients_of_a_batch_outlive_the_next_one(graphs: Graphs) -> None:
    net = Net()
    run, kept = Graphed(net, batch_size=4), list[Tensor]()
    for number in range(3):
        run(batch(number)).square().sum().backward()
        kept.append(run(batch(number)).detach())
        run(batch(number)).mean().backward()
    found = [weight.grad for weight in net.parameters()]
    for weight in net.parameters():
        weight.grad = None
    for number in range(3):
        net(batch(number)).square().sum().backward()
        assert torch.equal(kept[number], net(batch(number)))
        net(batch(number)).mean().backward()
    assert all(torch.equal(one, weight.grad) for one, weight in zip(found, net.parameters(), strict=True))
    assert len(graphs.shapes) == 1


def test_what_is_no_training_step_of_a_whole_batch_runs_as_it_is(graphs: Graphs) -> None:
    net = Net()
    run = Graphed(net, batch_size=4)
    run(batch()[:3])
    run(batch().requires_grad_()).sum().backward()
    with torch.no_grad():
        run(batch())
    net.eval()
    run(batch())
    assert graphs.shapes == []


@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net, "rate", 0.5),
        lambda net: setattr(net.classes.weight, "data", net.classes.weight.data.clone()),
        lambda net: net.classes.bias.requires_grad_(False),
        lambda net: setattr(net, "classes", nn.Linear(3, 2)),
    ],
    ids=["attribute", "memory", "frozen", "layer"],
)
def test_a_network_that_has_changed_is_captured_anew(graphs: Graphs, change: Callable[[Net], object]) -> None:
    net = Net()
    run = Graphed(net, batch_size=4)
    run(batch())
    change(net)
    assert torch.equal(run(batch()), net(batch()))
    run(batch())
    assert len(graphs.shapes) == 2


def counted(net: Net) -> None:
    net.calls += 1


def drawn(net: Net) -> None:
    random.random()


def failed(net: Net) -> None:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (counted, "whose forward pass changes none of its attributes"),
        (drawn, "draws its random numbers on the GPU"),
        (failed, "that CUDA can capture, .* got: CUDA error: operation not permitted when stream is capturing; give"),
    ],
)
def test_a_network_that_a_graph_would_not_repeat_is_refused(
    graphs: Graphs, act: Callable[[Net], object], sentence: str
) -> None:
    with pytest.raises(UsageError, match=f"^trainer.graphs=true needs a network .*{sentence}.*trainer.graphs=false$"):
        Graphed(Net(act), batch_size=4)(batch())


def test_hooks_are_refused_whenever_they_come(graphs: Graphs) -> None:
    net = Net()
    run = Graphed(net, batch_size=4)
    run(batch())
    net.classes.register_forward_hook(lambda *_: None)
    with pytest.raises(UsageError, match="needs a network without hooks"):
        run(batch())


def test_a_backward_pass_after_another_forward_pass_is_refused(graphs: Graphs) -> None:
    run = Graphed(Net(), batch_size=4)
    first = run(batch(0))
    run(batch(1))
    with pytest.raises(UsageError, match="needs the backward pass of a batch before the next forward pass"):
        first.sum().backward()


def test_memory_that_runs_out_is_told_as_in_a_plain_run(graphs: Graphs) -> None:
    def full(net: Net) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Graphed(Net(full), batch_size=4)(batch())
