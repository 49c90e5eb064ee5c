"""Features on a common scale, fitted on training cells only: by mean and deviation, or by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtri

from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Scaling = Literal["standard", "rank"]

_QUANTILES = 200
_FARTHEST = 5.199337582187471  # ndtri(1 - 1e-7), where scikit-learn's QuantileTransformer ends, too


def fit_scaling(values: Floats, kind: Scaling) -> dict[str, Floats]:
    """What :func:`scale` needs, as arrays.

    Args:
        values: (n, features); NaN is missing and becomes the median.
        kind: ``standard``: (x - mean) / deviation; ``rank``: to a normal distribution by quantiles, so that neither
            units nor long tails count.

    Raises:
        RecipeError: an unknown kind.
    """
    if kind not in ("standard", "rank"):
        raise RecipeError(f"no scaling {kind!r}", remedy="say standard or rank")
    there = ~np.isnan(values)
    gap = ~there.any(axis=0)
    median = np.where(gap, 0.0, np.nanmedian(np.where(gap, 0.0, values), axis=0))
    filled = np.where(there, values, median)
    if kind == "rank":
        levels = np.linspace(0, 1, min(_QUANTILES, len(values)))
        return {"median": median, "quantiles": np.maximum.accumulate(np.quantile(filled, levels, axis=0))}
    mean, deviation = filled.mean(axis=0), filled.std(axis=0)
    # A deviation that rounding alone can make is none.
    flat = deviation <= 1e-12 * np.maximum(np.abs(mean), 1)
    return {"median": median, "mean": mean, "deviation": np.where(flat, np.inf, deviation)}


def scale(values: Floats, fitted: Mapping[str, Floats]) -> Floats:
    """(n, features) on the fitted scale; features without spread become 0."""
    filled = np.where(np.isnan(values), fitted["median"], values)
    if "quantiles" not in fitted:
        return np.asarray((filled - fitted["mean"]) / fitted["deviation"])
    quantiles = fitted["quantiles"]
    levels = np.linspace(0, 1, len(quantiles))
    ranks = np.empty_like(filled)
    for place in range(filled.shape[1]):
        column, known = filled[:, place], quantiles[:, place]
        # Between the first and the last of equal quantiles lies their middle.
        up, down = np.interp(column, known, levels), np.interp(-column, -known[::-1], -levels[::-1])
        ranks[:, place] = 0.5 * (up - down)
    flat = quantiles[0] == quantiles[-1]
    with np.errstate(divide="ignore"):
        normal = np.clip(ndtri(ranks), -_FARTHEST, _FARTHEST)
    normal[:, flat] = 0.0
    return np.asarray(normal)
