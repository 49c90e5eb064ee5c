"""Multinomial logistic regression with an elastic net, as published for the MitoCheck cells.

The objective is scikit-learn's: ``C * sum of log losses + l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2``. It is
solved class by class by Newton steps that coordinate descent finds among the weights that may differ from zero
(Friedman, Hastie and Tibshirani 2010, Journal of Statistical Software 33:1), from one candidate to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import log_softmax

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
    iterations: int = Field(200, ge=1, description="most rounds over all classes, for each candidate")
    tolerance: float = Field(
        1e-5, gt=0, description="share by which the objective must fall in a round, or the candidate is done"
    )


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
    found, weights = {}, np.zeros((classes, scaled.shape[1]))
    wanted = list(range(len(grid)) if chosen is None else chosen)
    # Candidates before the one that is asked for are the quickest way to it.
    for place in range(max(wanted) + 1):
        weights = problem.solve(weights, **grid[place], rounds=settings.iterations, tolerance=settings.tolerance)
        bias = np.where(cells > 0, weights[:, -1], -1e9)
        found[place] = {**fitted, "weights": weights[:, :-1].T.copy(), "bias": bias}
    return [found[place] for place in wanted]


def decide(values: Floats, arrays: Mapping[str, Floats]) -> Floats:
    """Decision values (n, classes)."""
    return np.asarray(scale(values, arrays) @ arrays["weights"] + arrays["bias"])


_SWEEPS = 5


class _Problem:
    """Cells (n, features and a column of ones), classes one-hot, weights of the cells."""

    def __init__(self, cells: Floats, truth: Floats, weight: Floats) -> None:
        self.features, self.truth, self.weight = np.ascontiguousarray(cells.T), np.ascontiguousarray(truth.T), weight

    def solve(self, start: Floats, *, C: float, l1_ratio: float, rounds: int, tolerance: float) -> Floats:  # noqa: N803
        """The best weights (classes, features and the intercept, which nothing holds back), from `start`."""
        from phenostream.profiles.phenotypes.descent import improve  # noqa: PLC0415  (imports the compiler)

        lasso, ridge = l1_ratio / C, (1 - l1_ratio) / C
        weights = start.copy()
        decisions = weights @ self.features
        before = np.inf
        for _ in range(rounds):
            objective, active = self._state(weights, decisions, lasso, ridge)
            if before - objective <= tolerance * objective:
                break
            before = objective
            for number in range(len(weights)):
                improve(
                    self.features, np.flatnonzero(active[number]), decisions, number, self.truth[number], self.weight,
                    weights[number], lasso, ridge, _SWEEPS,
                )  # fmt: skip
        return weights

    def _state(self, weights: Floats, decisions: Floats, lasso: float, ridge: float) -> tuple[float, NDArray[np.bool_]]:
        """The objective over `C`, and which weights (classes, features) differ from zero or would gain by it."""
        told = log_softmax(decisions, axis=0)
        held = weights[:, :-1]
        objective = (
            -(told * self.truth * self.weight).sum() + lasso * np.abs(held).sum() + 0.5 * ridge * (held**2).sum()
        )
        slope = ((self.truth - np.exp(told)) * self.weight) @ self.features[:-1].T
        return float(objective), (held != 0) | (np.abs(slope) > lasso)
