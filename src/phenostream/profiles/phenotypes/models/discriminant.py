"""Linear discriminant analysis with a shrunken covariance, on ranks: few cells and many alike features suit it.

One Gaussian a class, all of the same covariance ``(1 - s) S + s mean(diag S) I`` (Friedman 1989; Ledoit and Wolf 2004
for the target). The discriminants are linear, so applying it is one matrix product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.linalg import cho_factor, cho_solve

from phenostream.profiles.phenotypes.scaling import Scaling, fit_scaling, scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Settings(BaseModel):
    """How covariances are held back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shrinkage: tuple[float, ...] = Field(
        (0.02, 0.05, 0.1, 0.2, 0.4),
        min_length=1,
        description="candidates; the one that held-out cells like best is taken",
    )
    scaling: Scaling = Field("rank", description="rank or standard")
    balanced: bool = Field(False, description="take all classes for equally frequent; else as frequent as in training")


def candidates(settings: Settings) -> list[dict[str, Any]]:
    """What :func:`path` fits, in order."""
    return [{"shrinkage": one} for one in settings.shrinkage]


def path(
    values: Floats, label: NDArray[np.intp], classes: int, settings: Settings, chosen: Sequence[int] | None = None
) -> list[dict[str, Floats]]:
    """Arrays of every candidate, or of those numbered in `chosen`.

    Args:
        values: (n, features), NaN is missing.
        label: (n,) 0 to classes - 1; a class without a cell is never called.
        classes: how many.
        settings: candidates and scaling.
        chosen: places in :func:`candidates`.
    """
    fitted = fit_scaling(values, settings.scaling)
    scaled = scale(values, fitted)
    cells = np.bincount(label, minlength=classes)
    means = np.zeros((classes, scaled.shape[1]))
    np.add.at(means, label, scaled)
    means /= np.maximum(cells, 1)[:, None]
    within = scaled - means[label]
    covariance = within.T @ within / len(within)
    prior = np.where(cells > 0, 1.0 if settings.balanced else cells / cells.sum(), 0.0)
    wanted = range(len(settings.shrinkage)) if chosen is None else chosen
    return [{**fitted, **_solved(covariance, means, prior, settings.shrinkage[one])} for one in wanted]


def decide(values: Floats, arrays: Mapping[str, Floats]) -> Floats:
    """Log densities (n, classes) up to a term that all classes share."""
    return np.asarray(scale(values, arrays) @ arrays["weights"] + arrays["bias"])


def _solved(covariance: Floats, means: Floats, prior: Floats, shrinkage: float) -> dict[str, Floats]:
    size = len(covariance)
    spread = max(float(np.trace(covariance)) / size, 1e-12)
    shrunk = (1 - shrinkage) * covariance
    shrunk[np.diag_indices(size)] += max(shrinkage, 1e-9) * spread
    weights = cho_solve(cho_factor(shrunk, lower=True, check_finite=False), means.T, check_finite=False)
    with np.errstate(divide="ignore"):
        bias = np.log(prior) - 0.5 * np.einsum("cf,fc->c", means, weights)
    return {"weights": weights, "bias": np.maximum(bias, -1e9)}
