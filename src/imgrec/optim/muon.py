"""Define Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), with AdamW or SGD for other parameters."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from imgrec.optim import orthogonal
from imgrec.optim.fused import can_fuse

RULES = ("muon", "adamw", "sgd")


class Muon(Optimizer):
    """Orthogonalised Nesterov momentum for matrices and filters; AdamW or SGD for the rest.

    A group with rule "muon" contains parameters of 2 or more dimensions. Each is treated as a matrix (first dimension,
    all others) in any memory format. The momentum is B <- momentum B + (1 - momentum) G; its Nesterov look-ahead is
    orthogonalised, and subtracted times lr * max(1, rows / columns) ** 0.5. With `constant_norm` each parameter is
    first scaled to the Frobenius norm rows ** 0.5, so that lr alone determines the angle of a step. A group with rule
    "adamw" follows AdamW (Loshchilov & Hutter 2019, algorithm 2). A group with rule "sgd" follows SGD with Nesterov
    momentum (Sutskever et al. 2013) and an L2 penalty. Weight decay is decoupled in the two others: times 1 - lr *
    weight_decay.

    Args:
        groups: Parameter groups, each with `params`, `rule`, and every setting that differs from the defaults here.
        lr: The rate of Muon's groups; the other groups set their own.
        momentum: Muon's momentum.
        ns_steps: Iterations of the orthogonalisation.
        constant_norm: See above.
        weight_decay: See above.
        betas: AdamW's.
        eps: AdamW's.

    Raises:
        ValueError: A group has no rule, or a parameter of a Muon group has fewer than 2 dimensions.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        ns_steps: int = 5,
        constant_norm: bool = False,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-10,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "ns_steps": ns_steps,
            "constant_norm": constant_norm,
            "weight_decay": weight_decay,
            "betas": betas,
            "eps": eps,
            "fused": False,  # PyTorch's loading reads it: a fused AdamW keeps its step count on the parameters' device
        }
        super().__init__(groups, defaults)
        for group in self.param_groups:
            if group.get("rule") not in RULES:
                raise ValueError(f"every group of Muon must give its rule, one of {', '.join(RULES)}")
            if group["rule"] != "muon":
                group["fused"] = can_fuse(group["params"])
                continue
            for parameter in group["params"]:
                if parameter.ndim < 2:
                    shape = tuple(parameter.shape)
                    raise ValueError(f"Muon needs parameters of at least 2 dimensions, got {shape}; give another rule")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient. Returns the closure's loss, if there is a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            match group["rule"]:
                case "muon":
                    for alike in _by_shape(parameters):
                        self._step_muon(alike, group)
                case "adamw":
                    self._step_adamw(parameters, group)
                case "sgd":
                    self._step_sgd(parameters, group)
        return loss

    def _step_muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Update parameters of one shape on one device, with few kernels for all of them."""
        gradients, buffers = [_gradient(parameter) for parameter in parameters], list[Tensor]()
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffers.append(state["momentum_buffer"])
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])
        updates = orthogonal.all_orthogonalized(
            [each.flatten(start_dim=1) for each in ahead],
            steps=group["ns_steps"],
            dtype=orthogonal.working_type(parameters[0].device),
        )
        rows, columns = updates[0].shape
        scale = max(1.0, rows / columns) ** 0.5
        if group["constant_norm"]:
            for parameter, norm in zip(parameters, torch._foreach_norm(parameters), strict=True):
                parameter.mul_(rows**0.5 / norm)
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for parameter, update_rc in zip(parameters, updates, strict=True):
            parameter.add_(update_rc.reshape(parameter.shape), alpha=-group["lr"] * scale)

    def _step_adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                where = parameter.device if group["fused"] else "cpu"
                state["step"] = torch.zeros((), dtype=torch.float32, device=where)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        beta1, beta2 = group["betas"]
        adamw(
            parameters,
            [_gradient(parameter) for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=group["fused"],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _step_sgd(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        buffers = [self.state[parameter].get("momentum_buffer") for parameter in parameters]
        sgd(
            parameters,
            [_gradient(parameter) for parameter in parameters],
            buffers,
            fused=group["fused"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=True,
            maximize=False,
        )
        for parameter, buffer in zip(parameters, buffers, strict=True):
            self.state[parameter]["momentum_buffer"] = buffer


def _by_shape(parameters: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    """Return the parameters in lists of one shape and device each, in the order of the first of each list."""
    alike = defaultdict[tuple[torch.Size, torch.device], list[Tensor]](list)
    for parameter in parameters:
        alike[parameter.shape, parameter.device].append(parameter)
    return alike.values()


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # step() selects parameters with a gradient
    return parameter.grad
