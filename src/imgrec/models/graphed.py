"""Run a network's training step as CUDA graphs, for the batches whose shapes are known beforehand."""

import inspect
import logging
import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from imgrec.errors import UsageError

log = logging.getLogger(__name__)

_INSTEAD = "give trainer.graphs=false"


class Graphed:
    """Run a network as CUDA graphs for whole training batches, and as it is for all other batches.

    A graph repeats the kernels of one forward and backward pass on fixed memory, without Python and without a launch
    for each kernel. Training batches have one shape for each size of images, and each size has a graph of its own. Only
    the newest is kept, as sizes do not come back and a graph keeps the memory of a step.

    The results are those of the network itself. Logits and gradients are copied out of the graph's memory, which the
    next batch overwrites. What Python does in a forward pass is done when a graph is captured, and never again: so a
    graph is captured anew where tensors, modes or plain attributes of a layer have changed since, and a network whose
    own forward pass changes them, or draws random numbers on the CPU, is refused.

    It is no module, so that the network's parameters are saved under one name only.

    Args:
        network: The network; nothing is captured before its first whole batch.
        batch_size: The images in a whole training batch.
    """

    def __init__(self, network: nn.Module, *, batch_size: int) -> None:
        self._network = network
        self._batch_size = batch_size
        self._kind: tuple[object, ...] | None = None
        self._graph: _Graph | None = None

    def __call__(self, images_nchw: Tensor) -> Tensor:
        """Return the logits (N, K) of images (N, C, H, W).

        Raises:
            UsageError: The network cannot be captured.
        """
        if (
            not self._network.training
            or len(images_nchw) != self._batch_size
            or not torch.is_grad_enabled()
            or images_nchw.requires_grad
        ):
            return cast(Tensor, self._network(images_nchw))
        kind = (tuple(images_nchw.shape), images_nchw.dtype, _arithmetic(images_nchw))
        if self._graph is None or self._kind != kind or not self._graph.bound.is_same():
            log.info(
                "capturing the network as CUDA graphs for batches of %s: this step takes longer",
                " x ".join(map(str, images_nchw.shape)),
            )
            self._graph = None  # frees its memory
            self._graph, self._kind = _captured(self._network, images_nchw), kind
        return self._graph(images_nchw)


@dataclass(kw_only=True, eq=False)
class _Graph:
    """A captured pass: `run` maps images and weights to logits, all in the graph's memory."""

    run: Callable[..., Tensor]
    weights: list[nn.Parameter]
    bound: "_Bound"
    passes: int = 0

    def __call__(self, images_nchw: Tensor) -> Tensor:
        self.passes += 1
        return self.run(images_nchw, *_Weights.apply(self, *self.weights)).clone()


class _Weights(torch.autograd.Function):
    """Hands weights to a graph, and copies their gradients out of the graph's memory.

    PyTorch keeps the first gradient of a weight as it is given, and the next pass would overwrite it before the second
    one is added.
    """

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.graph, ctx.number = graph, graph.passes
        return weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.number != ctx.graph.passes:
            raise UsageError(
                "trainer.graphs=true needs the backward pass of a batch before the next forward pass, which overwrites"
                f" its values, and something has run the network in between; {_INSTEAD}"
            )
        copies = [torch.empty_like(gradient) for gradient in gradients]
        torch._foreach_copy_(copies, list(gradients))
        return (None, *copies)


def _captured(network: nn.Module, images_nchw: Tensor) -> _Graph:
    """Return the graph of a network. Its statistics and the random generators stay as they are."""
    if any(_hooked(layer) for layer in network.modules()):
        raise UsageError(f"trainer.graphs=true needs a network without hooks, which a graph would not call; {_INSTEAD}")
    weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    # other tensors over the same memory: PyTorch notes on which stream a weight was first used, and none of the
    # training's streams may become part of the capture
    aliases = [weight.detach().requires_grad_() for weight in weights.values()]

    def run(images_nchw: Tensor, *given: Tensor) -> Tensor:
        return cast(Tensor, functional_call(network, dict(zip(weights, given, strict=True)), (images_nchw,)))

    make: Callable[..., Any] = torch.cuda.make_graphed_callables
    kind, on_gpu = images_nchw.device.type, images_nchw.is_cuda
    # the thread that pins batches goes on meanwhile; older versions of PyTorch know no mode
    modes = {"capture_error_mode": "thread_local"} if "capture_error_mode" in inspect.signature(make).parameters else {}
    bound, drawn = _Bound(network), _drawn(on_gpu)
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    of_cpu = torch.get_rng_state()
    of_gpu = torch.cuda.get_rng_state(images_nchw.device) if on_gpu else None
    try:
        # autocast's cache would keep tensors of the graph's memory
        with torch.autocast(
            kind,
            dtype=torch.get_autocast_dtype(kind),
            enabled=torch.is_autocast_enabled(kind),
            cache_enabled=False,
        ):
            captured = make(run, (images_nchw.detach().clone(), *aliases), **modes)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), "no reason")
        raise UsageError(
            f"trainer.graphs=true needs a network that CUDA can capture, all of whose weights take part, got: {reason};"
            f" {_INSTEAD}"
        ) from error
    if _drawn(on_gpu) != drawn:
        raise UsageError(
            "trainer.graphs=true needs a network that draws its random numbers on the GPU, as a graph would repeat"
            f" those of the CPU; {_INSTEAD}"
        )
    if not bound.is_same():
        raise UsageError(
            "trainer.graphs=true needs a network whose forward pass changes none of its attributes, and replaces none"
            f" of its tensors, as a graph would not do it again; {_INSTEAD}"
        )
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    torch.set_rng_state(of_cpu)
    if of_gpu is not None:
        torch.cuda.set_rng_state(of_gpu, images_nchw.device)
    return _Graph(run=captured, weights=list(weights.values()), bound=bound)


class _Bound:
    """What a graph is bound to: layers, their attributes and hooks, and the memory of their tensors."""

    def __init__(self, network: nn.Module) -> None:
        self._layers = [(layer, _contents(layer)) for layer in network.modules()]
        tensors = [*network.parameters(), *network.buffers()]
        self._places = [(tensor, tensor.data_ptr(), tensor.requires_grad) for tensor in tensors]

    def is_same(self) -> bool:
        """Return True if nothing has been replaced since."""
        for layer, before in self._layers:
            now = _contents(layer)
            if len(now) != len(before) or not all(map(operator.is_, now, before)) or _hooked(layer):
                return False
        return all(tensor.data_ptr() == at and tensor.requires_grad == trains for tensor, at, trains in self._places)


def _contents(layer: nn.Module) -> tuple[object, ...]:
    registered = (*layer._parameters.values(), *layer._buffers.values(), *layer._modules.values())
    return (*layer.__dict__.values(), *registered)


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def _arithmetic(images_nchw: Tensor) -> torch.dtype | None:
    """Return the type that autocast computes in; None where it is off."""
    kind = images_nchw.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def _drawn(on_gpu: bool) -> tuple[object, ...]:
    """Return the states of the generators that a graph does not repeat. On the CPU, PyTorch's is the training's own."""
    _, words, place, *_ = np.random.get_state(legacy=True)
    states = (random.getstate(), np.asarray(words).tobytes(), place)
    return (*states, torch.get_rng_state().numpy().tobytes()) if on_gpu else states
