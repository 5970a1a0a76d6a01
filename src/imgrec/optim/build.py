"""From the optimizer axis of the configuration to an optimizer."""

import torch
from torch import nn
from torch.optim import Optimizer

from imgrec.config import optimizer as config
from imgrec.optim.parameters import groups


def build_optimizer(cfg: config.Optimizer, module: nn.Module) -> Optimizer:
    """The optimizer that `cfg` describes, over everything in `module` that trains, at the peak rate lr * lr_scale."""
    lr = cfg.lr * cfg.lr_scale
    parameters = groups(module, decay_norm_and_bias=cfg.decay_norm_and_bias, weight_decay=cfg.weight_decay)
    match cfg:
        case config.Sgd():
            return torch.optim.SGD(parameters, lr=lr)
        case config.Momentum():
            return torch.optim.SGD(parameters, lr=lr, momentum=cfg.momentum, nesterov=cfg.nesterov)
        case config.AdamW():
            return torch.optim.AdamW(parameters, lr=lr, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps)
        case config.Adam():
            return torch.optim.Adam(parameters, lr=lr, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps)
        case config.Adagrad():
            return torch.optim.Adagrad(parameters, lr=lr, eps=cfg.eps)
        case config.RmsProp():
            return torch.optim.RMSprop(parameters, lr=lr, alpha=cfg.alpha, momentum=cfg.momentum, eps=cfg.eps)
        case _:
            raise TypeError(f"no optimizer is known for {type(cfg).__name__}")
