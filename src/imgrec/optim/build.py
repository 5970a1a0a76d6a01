"""From the optimizer axis of the configuration to an optimizer."""

import torch
from torch import nn
from torch.optim import Optimizer

from imgrec.config import optimizer as config
from imgrec.optim.fused import can_fuse, prepared
from imgrec.optim.muon import Muon
from imgrec.optim.parameters import groups, muon_groups, muon_sgd_groups


def build_optimizer(cfg: config.Optimizer, module: nn.Module) -> Optimizer:
    """The optimizer that `cfg` describes, over everything in `module` that trains, at the peak rate lr * lr_scale.

    Build it once the module is on its device. Fused kernels where they are faster: everywhere but in sgd, which has
    no state to save a pass over, and rmsprop, which has none. See `fused.prepared` for what resuming keeps.
    Raises ValueError if nothing trains.
    """
    return prepared(_optimizer(cfg, module))


def _optimizer(cfg: config.Optimizer, module: nn.Module) -> Optimizer:
    lr = cfg.lr * cfg.lr_scale
    if isinstance(cfg, config.Muon):
        hidden_and_rest = muon_groups(
            module,
            adamw_lr=cfg.adamw_lr * cfg.lr_scale,
            decay_norm_and_bias=cfg.decay_norm_and_bias,
            weight_decay=cfg.weight_decay,
        )
        betas = (cfg.adamw_beta1, cfg.adamw_beta2)
        return Muon(
            hidden_and_rest,
            lr=lr,
            momentum=cfg.momentum,
            ns_steps=cfg.ns_steps,
            constant_norm=cfg.constant_norm,
            betas=betas,
            eps=cfg.adamw_eps,
        )

    if isinstance(cfg, config.MuonSgd):
        by_rule = muon_sgd_groups(
            module,
            bias_lr=cfg.bias_lr * cfg.lr_scale,
            head_lr=cfg.head_lr * cfg.lr_scale,
            momentum=cfg.sgd_momentum,
            decay=cfg.weight_decay,
            decay_norm_and_bias=cfg.decay_norm_and_bias,
        )
        return Muon(by_rule, lr=lr, momentum=cfg.momentum, ns_steps=cfg.ns_steps, constant_norm=True)

    parameters = groups(module, decay_norm_and_bias=cfg.decay_norm_and_bias, weight_decay=cfg.weight_decay)
    everything = [parameter for group in parameters for parameter in group["params"]]
    fused = True if can_fuse(everything) else None
    match cfg:
        case config.Sgd():
            return torch.optim.SGD(parameters, lr=lr)
        case config.Momentum():
            return torch.optim.SGD(parameters, lr=lr, momentum=cfg.momentum, nesterov=cfg.nesterov, fused=fused)
        case config.AdamW():
            return torch.optim.AdamW(parameters, lr=lr, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps, fused=fused)
        case config.Adam():
            return torch.optim.Adam(parameters, lr=lr, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps, fused=fused)
        case config.Adagrad():
            # Adagrad's fused kernel is the CPU's alone in the oldest PyTorch that imgrec takes
            on_cpu = all(parameter.device.type == "cpu" for parameter in everything)
            return torch.optim.Adagrad(parameters, lr=lr, eps=cfg.eps, fused=fused if on_cpu else None)
        case config.RmsProp():
            return torch.optim.RMSprop(parameters, lr=lr, alpha=cfg.alpha, momentum=cfg.momentum, eps=cfg.eps)
        case _:
            raise TypeError(f"no optimizer is known for {type(cfg).__name__}")
