"""Multinomial logistic regression with an elastic net, as published for the MitoCheck cells.

The objective is scikit-learn's: ``C * sum of log losses + l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2``. It is
solved by accelerated proximal gradient with restarts (Beck and Teboulle 2009; O'Donoghue and Candes 2015), from one
candidate to the next.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import softmax

from phenostream.profiles.phenotypes.scaling import Scaling, fit_scaling, scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Settings(BaseModel):
    """How weights are held back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    C: tuple[float, ...] = Field((0.03, 0.1, 0.3), min_length=1, description="candidates of the inverse strength")
    l1_ratio: tuple[float, ...] = Field(
        (0.5,), min_length=1, description="candidates: 0 keeps all features, 1 keeps few"
    )
    scaling: Scaling = Field("standard", description="standard or rank")
    balanced: bool = Field(False, description="weigh cells so that all classes count the same")
    iterations: int = Field(100, ge=1, description="most steps a candidate; published with 100")
    tolerance: float = Field(1e-4, gt=0, description="largest change of a weight at which a candidate is done")


def candidates(settings: Settings) -> list[dict[str, Any]]:
    """What :func:`path` fits, in order."""
    return [{"C": strength, "l1_ratio": ratio} for ratio in settings.l1_ratio for strength in settings.C]


def path(
    values: Floats, label: NDArray[np.intp], classes: int, settings: Settings, chosen: Sequence[int] | None = None
) -> list[dict[str, Floats]]:
    """Arrays of every candidate, or of those numbered in `chosen`; arguments as :func:`.discriminant.path`."""
    fitted = fit_scaling(values, settings.scaling)
    scaled = np.column_stack([scale(values, fitted), np.ones(len(values))])
    cells = np.bincount(label, minlength=classes)
    weight = (len(label) / (np.count_nonzero(cells) * np.maximum(cells, 1)))[label] if settings.balanced else None
    problem = _Problem(scaled, np.eye(classes)[label], np.ones(len(label)) if weight is None else weight)
    grid = candidates(settings)
    found, weights = [], np.zeros((scaled.shape[1], classes))
    for place in range(len(grid)) if chosen is None else chosen:
        weights = problem.solve(weights, **grid[place], iterations=settings.iterations, tolerance=settings.tolerance)
        bias = np.where(cells > 0, weights[-1], -1e9)
        found.append({**fitted, "weights": weights[:-1].copy(), "bias": bias})
    return found


def decide(values: Floats, arrays: Mapping[str, Floats]) -> Floats:
    """Decision values (n, classes)."""
    return np.asarray(scale(values, arrays) @ arrays["weights"] + arrays["bias"])


class _Problem:
    """Cells (n, features and a column of ones), classes one-hot, weights of the cells."""

    def __init__(self, cells: Floats, truth: Floats, weight: Floats) -> None:
        self.cells, self.truth, self.weight = cells, truth, weight
        self.steepest = 0.5 * _largest_eigenvalue(cells, weight)

    def slope(self, weights: Floats) -> Floats:
        """Gradient of the sum of log losses."""
        wrong = softmax(self.cells @ weights, axis=1) - self.truth
        return np.asarray(self.cells.T @ (wrong * self.weight[:, None]))

    def solve(self, start: Floats, *, C: float, l1_ratio: float, iterations: int, tolerance: float) -> Floats:  # noqa: N803
        """The best weights, from `start`; the last row is the intercept, which nothing holds back."""
        lasso, ridge = l1_ratio / C, (1 - l1_ratio) / C
        step = 1 / (self.steepest + ridge)
        held = np.ones((len(start), 1))
        held[-1] = 0
        weights: Floats = start.copy()
        ahead: Floats = start.copy()
        pace = 1.0
        for _ in range(iterations):
            moved = ahead - step * (self.slope(ahead) + ridge * held * ahead)
            new = np.sign(moved) * np.maximum(np.abs(moved) - step * lasso * held, 0)
            change = new - weights
            if float((change * (ahead - new)).sum()) > 0:
                pace = 1.0
            quicker = (1 + math.sqrt(1 + 4 * pace * pace)) / 2
            ahead = np.asarray(new + (pace - 1) / quicker * change)
            weights, pace = new, quicker
            if np.abs(change).max() < tolerance:
                break
        return weights


def _largest_eigenvalue(cells: Floats, weight: Floats, rounds: int = 30) -> float:
    """Of ``cells.T @ diag(weight) @ cells``, by the power method, a little on the safe side."""
    vector = np.random.default_rng(0).standard_normal((cells.shape[1],))
    size = 1.0
    for _ in range(rounds):
        vector = np.asarray(cells.T @ (weight * (cells @ (vector / np.linalg.norm(vector)))))
        size = float(np.linalg.norm(vector))
    return 1.05 * size
