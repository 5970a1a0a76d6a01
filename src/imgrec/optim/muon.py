"""Define Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), with AdamW or SGD for other parameters."""

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
                    for parameter in parameters:
                        self._step_muon(parameter, group)
                case "adamw":
                    self._step_adamw(parameters, group)
                case "sgd":
                    self._step_sgd(parameters, group)
        return loss

    def _step_muon(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = _gradient(parameter)
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        buffer.lerp_(gradient, 1 - group["momentum"])
        matrix_rc = gradient.lerp(buffer, group["momentum"]).flatten(start_dim=1)
        rows, columns = matrix_rc.shape
        update_rc = orthogonal.orthogonalized(
            matrix_rc, steps=group["ns_steps"], dtype=orthogonal.working_type(parameter.device)
        )
        scale = max(1.0, rows / columns) ** 0.5
        if group["constant_norm"]:
            parameter.mul_(rows**0.5 / parameter.norm())
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
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


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # step() selects parameters with a gradient
    return parameter.grad
