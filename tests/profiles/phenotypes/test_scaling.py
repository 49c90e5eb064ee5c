"""Scales beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from phenostream.errors import RecipeError
from phenostream.profiles.phenotypes.scaling import fit_scaling, scale


def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.normal(5, 3, 500), rng.lognormal(size=500), rng.integers(0, 4, 500), np.full(500, 7.0)])


def test_the_standard_scale_is_scikit_learns() -> None:
    made = scale(values(), fit_scaling(values(), "standard"))
    np.testing.assert_allclose(made, StandardScaler().fit_transform(values()), atol=1e-10)


def test_ranks_are_scikit_learns_quantile_transform() -> None:
    known = values()[:, :3]
    theirs = QuantileTransformer(n_quantiles=200, output_distribution="normal").fit(known)
    new = values()[::-1, :3] * 1.3 - 0.2
    np.testing.assert_allclose(scale(new, fit_scaling(known, "rank")), theirs.transform(new), atol=1e-6)


@pytest.mark.parametrize("kind", ["standard", "rank"])
def test_missing_values_become_the_median_and_constants_zero(kind: str) -> None:
    known = values()
    fitted = fit_scaling(known, kind)
    gap = np.full((1, 4), np.nan)
    np.testing.assert_array_equal(scale(gap, fitted), scale(np.median(known, axis=0)[None], fitted))
    assert (scale(known + 100, fitted)[:, 3] == 0).all()
    empty = fit_scaling(np.full((5, 1), np.nan), kind)
    assert (scale(np.array([[3.0]]), empty) == 0).all()


def test_an_unknown_scale_is_named() -> None:
    with pytest.raises(RecipeError, match="log"):
        fit_scaling(values(), "log")
