"""One row a well, against pandas."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.operating import operate
from phenostream.values import columns_of


@pytest.mark.parametrize("method", ["mean", "median"])
def test_as_pandas_with_holes(cells, names, replaced, method):
    table = cells()
    holes = table[names[0]].to_numpy().copy()
    holes[np.array(table["Metadata_Well"].to_pylist()) == "B2"] = np.nan
    holes[::7] = np.nan
    table = replaced(table, **{names[0]: holes})
    done = operate(table, "aggregate", method=method)
    frame = table.to_pandas().groupby(["Metadata_Plate", "Metadata_Well"])[names]
    wanted = (frame.mean() if method == "mean" else frame.median()).reset_index()
    found = done.table()
    assert found["Metadata_Well"].to_pylist() == wanted["Metadata_Well"].tolist()
    for name in names:
        np.testing.assert_allclose(found[name].to_numpy(), wanted[name].to_numpy(), rtol=1e-12)
    assert found["Metadata_Object_Count"].to_pylist() == [20] * 12
    assert done.told == {"rows": 240, "groups": 12, "empty": {names[0]: 3}, "duplicate_ids": 0}


def test_metadata_is_carried_where_it_is_one_value(cells):
    found = operate(cells(), "aggregate", carry=["Metadata_Dose", "Metadata_Control"], count="").table()
    assert found["Metadata_Dose"].to_pylist() == [0.0, 1.0, 2.0, 3.0] * 3
    assert found["Metadata_Control"].to_pylist() == ["negative", "negative", "compound", "compound"] * 3
    assert "Metadata_Object_Count" not in found.column_names
    roles = {column.name: column.role for column in columns_of(found.schema)}
    assert roles["Metadata_Dose"] == "metadata"
    assert roles["Nuclei_AreaShape_Area"] == "feature"
    with pytest.raises(RecipeError, match="Metadata_Well is not one value in Metadata_Plate P0: 'A1', 'A2'"):
        operate(cells(), "aggregate", by=["Metadata_Plate"], carry=["Metadata_Well"])


def test_rows_without_a_key_are_a_group_of_their_own(cells, replaced):
    plates = [None if row < 8 else "P" for row in range(240)]
    found = operate(replaced(cells(), Metadata_Plate=plates), "aggregate", by=["Metadata_Plate"]).table()
    assert found["Metadata_Plate"].to_pylist() == ["P", None]
    assert found["Metadata_Object_Count"].to_pylist() == [232, 8]


def test_columns_that_are_not_there(cells):
    with pytest.raises(NotFoundError, match="Metadata_Nothing"):
        operate(cells(), "aggregate", by=["Metadata_Nothing"])
    with pytest.raises(NotFoundError, match="Metadata_Nothing"):
        operate(cells(), "aggregate", carry=["Metadata_Nothing"])
    with pytest.raises(RecipeError, match="by"):
        operate(cells(), "aggregate", by=[])


@pytest.mark.parametrize("name", ["aggregate", "consensus", "normalise"])
def test_cells_that_count_twice_are_told(cells, name):
    by = {} if name == "normalise" else {"by": ["Metadata_Plate", "Metadata_Well"]}
    table = pa.concat_tables([cells(), cells().slice(10, 3)])
    assert operate(cells(), name, **by).told["duplicate_ids"] == 0
    assert operate(table, name, **by).told["duplicate_ids"] == 3
    without = table.set_column(0, table.schema.field(0), pa.nulls(243, pa.string()))
    assert operate(without, name, **by).told["duplicate_ids"] == 0
    assert "duplicate_ids" not in operate(table.drop_columns(["CellId"]), name, **by).told


def test_ids_that_do_not_fit_are_not_counted_and_it_is_told(cells):
    table = pa.concat_tables([cells(), cells()])
    done = operate(table, "aggregate", method="mean", memory=8 * 480 - 1)
    assert done.told["duplicate_ids"] is None
    assert operate(table, "aggregate", method="mean", memory=8 * 480).told["duplicate_ids"] == 240
