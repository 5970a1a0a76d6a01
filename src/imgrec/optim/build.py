"""Build an optimizer from the optimizer axis of the configuration."""

from collections.abc import Collection, Mapping

from torch import nn
from torch.optim import Optimizer

from imgrec.config import optimizer as config
from imgrec.config import origins
from imgrec.errors import UsageError
from imgrec.optim import parameters
from imgrec.optim.fused import prepared


def build_optimizer(
    cfg: config.Optimizer,
    module: nn.Module,
    *,
    depths: Mapping[str, int] | None = None,
    head: Collection[str] = (),
    later: Collection[str] = (),
) -> Optimizer:
    """Build the optimizer that `cfg` describes, over all trainable parameters of `module`, at the peak rate.

    Call it once the module is on its device. See `fused.prepared` for what resuming keeps.

    Args:
        cfg: The configuration.
        module: The network.
        depths: The depth of each parameter by its name, from 0 to the head's; needed for `layer_decay`.
        head: The names of the head's parameters.
        later: The names of parameters that begin to train later. They are in groups of their own, as PyTorch's fused
            momentum needs the parameters of a group to begin at one step.

    Raises:
        ValueError: Nothing trains.
        UsageError: A user's own optimizer ignores settings that every optimizer has.
    """
    optimizer = cfg.build(module)
    if origins.origin_of(type(cfg)) is not None:
        _check(cfg, optimizer)
    if cfg.scales_rates or later:
        scaled = dict.fromkeys(head, cfg.head_scale)
        kinds = parameters.kinds(module, depths=depths or {}, layer_decay=cfg.layer_decay, scaled=scaled, later=later)
        parameters.regroup(optimizer, kinds)
    return prepared(optimizer, counters=cfg.counters)


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
