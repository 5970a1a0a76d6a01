"""Define the base class of the choices with Muon's update rule."""

from dataclasses import dataclass

from imgrec.config.fields import setting
from imgrec.config.optimizer import Optimizer


@dataclass(kw_only=True)
class Orthogonalised(Optimizer):
    """Settings of Muon's update rule."""

    momentum: float = setting(0.95, "weight of the past gradients, Nesterov (Jordan et al. 2024)", at_least=0, below=1)
    ns_steps: int = setting(5, "Newton-Schulz iterations (Jordan et al. 2024)", at_least=1)
