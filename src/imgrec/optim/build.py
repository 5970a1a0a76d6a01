"""From the optimizer axis of the configuration to an optimizer."""

from torch import nn
from torch.optim import Optimizer

from imgrec.config import optimizer as config
from imgrec.optim.fused import prepared


def build_optimizer(cfg: config.Optimizer, module: nn.Module) -> Optimizer:
    """The optimizer that `cfg` describes, over everything in `module` that trains, at the peak rate.

    Build it once the module is on its device. See `fused.prepared` for what resuming keeps.
    Raises ValueError if nothing trains.
    """
    return prepared(cfg.build(module))
