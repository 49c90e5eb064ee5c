"""Replicates: within-group covariance beside scikit-learn, whitening by its definition."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from phenostream.errors import RecipeError
from phenostream.profiles.operating import operate
from phenostream.profiles.operations.replicates import whitening, within_covariance
from phenostream.values import Column, with_columns


def table(rows: int = 200) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 20, rows)
    values = 3 * rng.normal(size=(20, 5))[groups] + rng.normal(size=(rows, 5)) @ rng.normal(size=(5, 5))
    made = pa.table({"Metadata_Drug": [f"d{one}" for one in groups], **{f"f{one}": values[:, one] for one in range(5)}})
    return with_columns(made, [Column(f"f{one}") for one in range(5)]), values, groups


def test_the_covariance_is_that_of_scikit_learn() -> None:
    _, values, groups = table()
    theirs = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(values, groups).covariance_
    np.testing.assert_allclose(within_covariance(values, groups), theirs, rtol=1e-9)


def test_replicates_differ_equally_in_all_directions_afterwards() -> None:
    made, _, groups = table()
    done = operate(made, "replicates", by=["Metadata_Drug"], regularisation=1e-9)
    white = np.column_stack([done.table()[f"f{one}"].to_numpy() for one in range(5)])
    np.testing.assert_allclose(within_covariance(white, groups), np.eye(5), atol=1e-6)
    assert done.told == {"features": 5, "groups": 20, "rows": 200}


def test_the_regularised_whitening_is_the_inverse_root() -> None:
    _, values, groups = table()
    covariance = within_covariance(values, groups)
    expected = fractional_matrix_power(covariance + 0.3 * np.trace(covariance) / 5 * np.eye(5), -0.5)
    np.testing.assert_allclose(whitening(covariance, 0.3), expected, rtol=1e-9)
    np.testing.assert_array_equal(whitening(np.zeros((3, 3)), 0.3), np.eye(3))


def test_what_was_fitted_is_applied_to_other_rows() -> None:
    made, _, _ = table()
    done = operate(made, "replicates", by=["Metadata_Drug"])
    again = operate(made.slice(0, 7), "replicates", fitted=done.fitted, by=["Metadata_Drug"])
    assert again.table().equals(done.table().slice(0, 7))


def test_without_replicates_it_is_refused() -> None:
    made, _, _ = table(20)
    lonely = made.set_column(0, made.schema.field(0), pa.array([str(one) for one in range(20)]))
    with pytest.raises(RecipeError, match="no two rows"):
        operate(lonely, "replicates", by=["Metadata_Drug"])
