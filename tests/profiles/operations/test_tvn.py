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


def efaar(values, plate, control, ridge=0.5):
    """The definition: standardise, PCA and standardise on all controls, then whiten each batch, with NumPy alone."""

    def standardised(rows):
        return (rows - rows[control].mean(axis=0)) / rows[control].std(axis=0)

    made = standardised(values)
    made = standardised(made @ np.linalg.svd(made[control], full_matrices=False)[2].T)
    out = np.empty_like(made)
    for one in np.unique(plate):
        own = np.cov(made[(plate == one) & control], rowvar=False) + ridge * np.eye(made.shape[1])
        values_, vectors = np.linalg.eigh(own)
        out[plate == one] = made[plate == one] @ vectors @ np.diag(values_**-0.5) @ vectors.T
    return out


def coral(values, plate, control, ridge=0.5):
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


@pytest.mark.parametrize(("align", "definition"), [("whiten", efaar), ("coral", coral)])
@pytest.mark.parametrize("ridge", [0.5, 2.0])
def test_as_written_down_step_by_step(cells, names, align, definition, ridge):
    table = cells()
    values = np.column_stack([table[name].to_numpy() for name in names])
    plate = np.array(table["Metadata_Plate"].to_pylist())
    control = np.array(table["Metadata_Control"].to_pylist()) == "negative"
    wanted = definition(values, plate, control, ridge)
    settings = {**SETTINGS, "align": align, "regularisation": ridge}
    done = operate(table, "tvn", **settings)
    found = np.column_stack([done.table()[f"PC{place}"].to_numpy() for place in (1, 2, 3)])
    found *= np.sign((found * wanted).sum(axis=0))
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)
    assert done.told == {"batches": 3, "features": 3, "components": 3}
    again = operate(table, "tvn", fitted=done.fitted, **settings).table()
    assert again.equals(done.table())


def test_the_definition_of_efaar_is_the_default(cells):
    assert (
        operate(cells(), "tvn", **SETTINGS).table().equals(operate(cells(), "tvn", align="whiten", **SETTINGS).table())
    )


def test_whitening_leaves_batches_in_their_places_and_coral_does_not(cells):
    for align, apart in (("whiten", True), ("coral", False)):
        table = operate(cells(), "tvn", align=align, **SETTINGS).table()
        control = np.array(table["Metadata_Control"].to_pylist()) == "negative"
        plate = np.array(table["Metadata_Plate"].to_pylist())[control]
        first = table["PC1"].to_numpy()[control]
        means = [first[plate == one].mean() for one in np.unique(plate)]
        assert (np.ptp(means) > 1) == apart
        assert apart or np.ptp(means) < 1e-9


def test_what_it_cannot_do_is_named(cells, names, replaced):
    table = cells()
    with pytest.raises(RecipeError, match="no controls"):
        operate(table, "tvn", by=["Metadata_Plate"])
    with pytest.raises(RecipeError, match="constant"):
        operate(replaced(table, **{names[0]: np.ones(240)}), "tvn", **SETTINGS)
    with pytest.raises(OverBudgetError, match="covariances"):
        operate(table, "tvn", memory=100, **SETTINGS)
    assert operate(table, "tvn", components=2, **SETTINGS).told["components"] == 2
