"""Build an optimizer from the optimizer axis of the configuration."""

from torch import nn
from torch.optim import Optimizer

from imgrec.config import optimizer as config
from imgrec.config import origins
from imgrec.errors import UsageError
from imgrec.optim.fused import prepared


def build_optimizer(cfg: config.Optimizer, module: nn.Module) -> Optimizer:
    """Build the optimizer that `cfg` describes, over all trainable parameters of `module`, at the peak rate.

    Call it once the module is on its device. See `fused.prepared` for what resuming keeps.

    Raises:
        ValueError: Nothing trains.
    """
    optimizer = cfg.build(module)
    if origins.origin_of(type(cfg)) is not None:
        _check(cfg, optimizer)
    return prepared(optimizer)


def _check(cfg: config.Optimizer, optimizer: Optimizer) -> None:
    """Refuse a user's own optimizer that ignores settings which every optimizer has."""
    rates = [group["lr"] for group in optimizer.param_groups]
    if cfg.peak not in rates:
        raise UsageError(
            f"optimizer={cfg.name} must begin at lr * lr_scale = {cfg.peak}, and its groups begin at {rates}; build it"
            " with lr=self.peak"
        )
    if cfg.weight_decay and cfg.weight_decay not in [group.get("weight_decay") for group in optimizer.param_groups]:
        raise UsageError(
            f"optimizer={cfg.name} must have optimizer.weight_decay={cfg.weight_decay} in its groups, and has not; make"
            " them with imgrec.optim.parameters.groups, or give optimizer.weight_decay=0"
        )
