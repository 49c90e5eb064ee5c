"""TVN against its steps written down one by one with SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from phenostream.errors import OverBudgetError, RecipeError
from phenostream.profiles.operating import operate

SETTINGS = {"by": ["Metadata_Plate"], "controls": {"Metadata_Control": "negative"}}


def literal(values, plate, control, ridge=0.5):
    """Whiten on all controls, standardise by batch on its controls, align covariances (CORAL)."""
    scaler = StandardScaler().fit(values[control])
    pca = PCA(whiten=True, svd_solver="full").fit(scaler.transform(values[control]))
    made = pca.transform(scaler.transform(values))
    for one in np.unique(plate):
        made[plate == one] = StandardScaler().fit(made[(plate == one) & control]).transform(made[plate == one])
    target = np.cov(made[control].T, bias=True) + ridge * np.eye(made.shape[1])
    for one in np.unique(plate):
        own = np.cov(made[(plate == one) & control].T, bias=True) + ridge * np.eye(made.shape[1])
        made[plate == one] = (
            made[plate == one] @ fractional_matrix_power(own, -0.5) @ fractional_matrix_power(target, 0.5)
        )
    return made


def test_as_written_down_step_by_step(cells, names):
    table = cells()
    values = np.column_stack([table[name].to_numpy() for name in names])
    plate = np.array(table["Metadata_Plate"].to_pylist())
    control = np.array(table["Metadata_Control"].to_pylist()) == "negative"
    wanted = literal(values, plate, control)
    done = operate(table, "tvn", **SETTINGS)
    found = np.column_stack([done.table()[f"PC{place}"].to_numpy() for place in (1, 2, 3)])
    found *= np.sign((found * wanted).sum(axis=0))
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)
    assert done.told == {"batches": 3, "features": 3, "components": 3}
    again = operate(table, "tvn", fitted=done.fitted, **SETTINGS).table()
    assert again.equals(done.table())


def test_what_it_cannot_do_is_named(cells, names, replaced):
    table = cells()
    with pytest.raises(RecipeError, match="no controls"):
        operate(table, "tvn", by=["Metadata_Plate"])
    with pytest.raises(RecipeError, match="constant"):
        operate(replaced(table, **{names[0]: np.ones(240)}), "tvn", **SETTINGS)
    with pytest.raises(OverBudgetError, match="covariances"):
        operate(table, "tvn", memory=100, **SETTINGS)
    assert operate(table, "tvn", components=2, **SETTINGS).told["components"] == 2
