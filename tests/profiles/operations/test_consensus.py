"""One profile a perturbation."""

from __future__ import annotations

import numpy as np
import pytest

from phenostream.errors import RecipeError
from phenostream.profiles.operating import operate


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


def test_missing_values_and_missing_groups_are_named(cells, names, replaced):
    holes = np.full(240, np.nan)
    with pytest.raises(RecipeError, match="modz cannot weigh"):
        operate(replaced(cells(), **{names[0]: holes}), "consensus", by=["Metadata_Plate"], method="modz")
    with pytest.raises(RecipeError, match="by"):
        operate(cells(), "consensus")
