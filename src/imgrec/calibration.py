"""Temperature scaling: confidences that one number, fitted on validation, makes honest (Guo et al. 2017)."""

# N images, K classes

import math

import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

_LEAST, _MOST = 1e-2, 1e2  # temperatures; networks' lie between 0.5 and 5
_NEAR = 1.01  # share of an end within which the maximum lies beyond it


def fit_temperature(logits_nk: Tensor, targets_n: Tensor) -> float | None:
    """The temperature that minimises the negative log-likelihood of softmax(logits / temperature).

    Guo et al. 2017 ("On Calibration of Modern Neural Networks", section 4.2). The likelihood has one maximum, which
    Brent's bounded method finds. Returns a number in (0.01, 100); None where there is none: where all images are right,
    the likelihood rises for ever as the temperature falls.

    Args:
        logits_nk: float (N, K), of images that the network was not trained on.
        targets_n: the true classes, int (N,).
    """
    if bool((logits_nk.argmax(dim=1) == targets_n).all()):
        return None
    logits = logits_nk.double()

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits / math.exp(log_temperature), targets_n)

    found = minimize_scalar(loss, bounds=(math.log(_LEAST), math.log(_MOST)), method="bounded", options={"xatol": 1e-6})
    temperature = math.exp(float(found.x))
    return temperature if _LEAST * _NEAR < temperature < _MOST / _NEAR else None


def negative_log_likelihood(logits_nk: Tensor, targets_n: Tensor) -> float:
    """The mean over images of -log p(true class), in nats, computed in float64."""
    return float(F.cross_entropy(logits_nk.double(), targets_n))
