"""Build the schedule-free optimizer of its authors' package (Defazio et al. 2024), and compute its average.

The package is optional. The weights that train are those at which gradients are taken, `y` in the paper's algorithm 1;
the weights to score, `x`, follow from them and from the optimizer's state.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from imgrec.errors import RunError


def schedule_free(groups: list[dict[str, Any]], **settings: Any) -> Optimizer:
    """Return schedule-free AdamW, ready to train.

    Args:
        groups: The parameter groups.
        settings: The settings of the package's class.

    Raises:
        RunError: The package is not installed.
    """
    try:
        from schedulefree import AdamWScheduleFree
    except ImportError as error:
        raise RunError(
            "optimizer=schedule_free needs the package schedulefree, which is not installed; in the clone,"
            " pip install -e '.[schedulefree]', or choose optimizer=adamw"
        ) from error
    optimizer = AdamWScheduleFree(groups, **settings)
    optimizer.train()
    return cast(Optimizer, optimizer)


@torch.no_grad()
def average_(average_of: Mapping[Tensor, Tensor], optimizer: Optimizer) -> None:
    """Turn copies of the weights that train into the weights to score: x = y + (1 - 1 / beta1) (z - y).

    Args:
        average_of: For each weight, its copy. Weights that had no step yet stay.
        optimizer: The optimizer of the weights.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if "z" in (state := optimizer.state[weight]):
                average_of[weight].lerp_(state["z"], 1 - 1 / group["betas"][0])
