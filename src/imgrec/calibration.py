"""Calibrate confidences by a temperature that is fitted on validation images (Guo et al. 2017)."""

# N images, K classes

import math

import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

_LEAST, _MOST = 1e-2, 1e2  # range of temperatures; those of networks are between 0.5 and 5
_NEAR = 1.01  # a result within this factor of an end means a maximum outside of the range


def fit_temperature(logits_nk: Tensor, targets_n: Tensor) -> float | None:
    """Return the temperature that minimises the negative log-likelihood of softmax(logits / temperature).

    See Guo et al. 2017 ("On Calibration of Modern Neural Networks", section 4.2). The likelihood has one maximum, which
    Brent's bounded method finds.

    Args:
        logits_nk: float (N, K), of images that the network was not trained on.
        targets_n: The true classes, int (N,).

    Returns:
        A number in (0.01, 100); None if there is no maximum. If all images are right, the likelihood keeps
        rising as the temperature falls.
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
    """Return the mean over images of -log p(true class), in nats, computed in float64."""
    return float(F.cross_entropy(logits_nk.double(), targets_n))
