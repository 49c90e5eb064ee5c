"""Whitening: identity covariance on the fitting rows, however the rows come."""

from __future__ import annotations

import numpy as np
import pytest

from phenostream.errors import RecipeError
from phenostream.profiles.operating import operate


def matrix(table, names):
    return np.column_stack([table.column(name).to_numpy() for name in names])


@pytest.mark.parametrize("method", ["ZCA", "PCA", "ZCA-cor", "PCA-cor"])
def test_controls_come_out_uncorrelated_with_variance_one(cells, names, method):
    table = cells()
    done = operate(table, "sphere", method=method, controls={"Metadata_Control": "negative"}, epsilon=0)
    found = done.table()
    made = [name for name in found.column_names if name in names or name.startswith("PC")]
    control = np.array(found["Metadata_Control"].to_pylist()) == "negative"
    values = matrix(found, made)[control]
    np.testing.assert_allclose(np.cov(values.T), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-9)
    assert done.told == {"features": 3, "rows": 120, "rank": 3}


def test_what_was_fitted_is_applied_again(cells, names):
    table = cells()
    done = operate(table, "sphere")
    again = operate(table, "sphere", fitted=done.fitted).table()
    np.testing.assert_array_equal(matrix(again, names), matrix(done.table(), names))


def test_components_are_described_and_places_kept(cells):
    found = operate(cells(), "sphere", method="PCA").table()
    assert [name for name in found.column_names if name.startswith("PC")] == ["PC1", "PC2", "PC3"]
    assert "Nuclei_AreaShape_Center_X" in found.column_names
    assert "Nuclei_AreaShape_Area" not in found.column_names


def test_dependent_constant_and_missing_features_are_refused(cells, names, replaced):
    table = cells()
    twin = replaced(table, **{names[1]: 2 * table[names[0]].to_numpy() + 3})
    with pytest.raises(RecipeError, match="rank 2"):
        operate(twin, "sphere")
    shrunk = operate(twin, "sphere", shrinkage=0.1)
    assert shrunk.told["rank"] == 2
    assert np.isfinite(matrix(shrunk.table(), names)).all()
    with pytest.raises(RecipeError, match="constant"):
        operate(replaced(table, **{names[0]: np.ones(240)}), "sphere")
    holes = table[names[0]].to_numpy().copy()
    holes[7] = np.nan
    with pytest.raises(RecipeError, match="1 features have missing values, first Nuclei_AreaShape_Area in 1 rows"):
        operate(replaced(table, **{names[0]: holes}), "sphere")


def test_shrinkage_as_its_definition(cells, names):
    table = cells()
    values = matrix(table, names)
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    own = values.T @ values / (len(values) - 1)
    shrunk = 0.7 * own + 0.3 * np.trace(own) / 3 * np.eye(3)
    spread, vectors = np.linalg.eigh(shrunk)
    wanted = values @ (vectors / np.sqrt(spread)) @ vectors.T
    found = operate(table, "sphere", shrinkage=0.3, epsilon=0).table()
    np.testing.assert_allclose(matrix(found, names), wanted, rtol=1e-9, atol=1e-9)
