"""From decision values to probabilities that mean what they say, and back to how well they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Softest and sharpest temperature that is looked at.
_RANGE = (0.05, 50.0)


def fit_temperature(decisions: Floats, label: NDArray[np.intp]) -> float:
    """The temperature that makes the probabilities of held-out cells most likely (Guo et al. 2017, section 4.2).

    Args:
        decisions: (n, classes) of cells that took no part in fitting.
        label: (n,) their true classes.
    """

    def loss(exponent: float) -> float:
        return log_loss(decisions, label, float(np.exp(exponent)))

    found = minimize_scalar(loss, bounds=tuple(np.log(_RANGE)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def probabilities(decisions: Floats, temperature: float) -> Floats:
    """(n, classes), rows sum to one."""
    return np.asarray(softmax(decisions / temperature, axis=1))


def log_loss(decisions: Floats, label: NDArray[np.intp], temperature: float) -> float:
    """Mean negative logarithm of the true classes' probabilities."""
    return float(-log_softmax(decisions / temperature, axis=1)[np.arange(len(label)), label].mean())
