"""One profile a perturbation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from phenostream.errors import OverBudgetError, RecipeError
from phenostream.profiles.operating import operate
from phenostream.profiles.tables import Held, write_table


def test_modz_gives_less_weight_to_the_odd_one_out(cells, names, replaced):
    table = cells(rows=12, plates=1)
    base = np.array([1.0, 5.0, 3.0])
    columns = {name: np.tile(base[place], 12).astype(float) for place, name in enumerate(names)}
    for place, name in enumerate(names):
        columns[name][0] = base[::-1][place] * -4
    found = operate(
        replaced(table, **columns, Metadata_Plate=["P0"] * 12), "consensus", by=["Metadata_Plate"], method="modz",
        features=names,
    ).table()  # fmt: skip
    mean = operate(
        replaced(table, **columns), "consensus", by=["Metadata_Plate"], method="mean", features=names
    ).table()
    for place, name in enumerate(names):
        assert abs(found[name][0].as_py() - base[place]) < abs(mean[name][0].as_py() - base[place])
    assert found["Metadata_Replicate_Count"].to_pylist() == [12]


def test_modz_of_a_file_in_portions_is_that_of_the_whole(tmp_path, cells, names):
    """Replicates scattered over all row groups, a few perturbations at a time."""
    table = cells(rows=900, plates=5)
    table = table.take(np.random.default_rng(0).permutation(900))
    write_table(Held(table), tmp_path / "cells.parquet", rows=100)
    given = {"by": ["Metadata_Plate", "Metadata_Well"], "method": "modz"}
    whole = operate(table, "consensus", **given).table()
    # 45 cells of 3 features a group, in float64: ranks of one and values of three groups.
    small = operate(tmp_path / "cells.parquet", "consensus", memory=4 * 45 * 3 * 8, **given).table()
    assert small.drop_columns(names).equals(whole.drop_columns(names))
    for name in names:
        np.testing.assert_allclose(small[name].to_numpy(), whole[name].to_numpy(), rtol=1e-12)
    with pytest.raises(OverBudgetError, match="45 rows of 3 features"):
        operate(tmp_path / "cells.parquet", "consensus", memory=1000, **given)


def test_weights_are_mean_rank_correlations(cells, names, replaced):
    rng = np.random.default_rng(5)
    table = cells(rows=60, plates=1)
    values = {name: rng.normal(size=60) for name in names}
    found = operate(
        replaced(table, **values), "consensus", by=["Metadata_Plate"], method="modz", features=names, precision=12
    ).table()
    stacked = np.column_stack([values[name] for name in names])
    agreement = spearmanr(stacked.T).statistic.clip(0)
    weights = np.maximum((agreement.sum(axis=1) - 1) / 59, 0.01)
    expected = weights / weights.sum() @ stacked
    np.testing.assert_allclose([found[name][0].as_py() for name in names], expected, rtol=1e-9)


def test_missing_values_and_missing_groups_are_named(cells, names, replaced):
    holes = np.full(240, np.nan)
    with pytest.raises(RecipeError, match="modz cannot weigh"):
        operate(replaced(cells(), **{names[0]: holes}), "consensus", by=["Metadata_Plate"], method="modz")
    with pytest.raises(RecipeError, match="by"):
        operate(cells(), "consensus")
