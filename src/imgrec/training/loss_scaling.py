"""Scale the loss of training in float16 without waiting for the GPU at each step."""

import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.optim import SGD, Adagrad, Adam, Optimizer

_LEAVES_OUT = (SGD, Adam, Adagrad)  # fused, they leave a step out where gradients are not finite; AdamW is an Adam


class Scaler(torch.amp.GradScaler):
    """PyTorch's scaler, which asks fused optimizers to leave out a step whose gradients are not finite.

    PyTorch reads from the device whether they are finite, and waits for it, unless an optimizer also unscales the
    gradients. Gradients here are unscaled before they are clipped and logged, so that no optimizer does it
    (`optim.fused.prepared`).
    """

    def step(self, optimizer: Optimizer, *arguments: object, **keywords: object) -> float | None:
        """Make the optimizer's step unless gradients are not finite."""
        if not (isinstance(optimizer, _LEAVES_OUT) and all(group.get("fused") for group in optimizer.param_groups)):
            return super().step(optimizer, *arguments, **keywords)
        before = getattr(optimizer, "_step_supports_amp_scaling", False)
        setattr(optimizer, "_step_supports_amp_scaling", True)  # noqa: B010 (mypy knows no such name)
        try:
            return super().step(optimizer, *arguments, **keywords)
        finally:
            setattr(optimizer, "_step_supports_amp_scaling", before)  # noqa: B010


def plugin(device: str) -> MixedPrecision:
    """Return Lightning's plugin for `trainer.precision=16-mixed` with this scaler."""
    return MixedPrecision("16-mixed", device, scaler=Scaler(device=device))
