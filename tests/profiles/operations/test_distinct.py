"""No cell twice."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from phenostream.errors import DamagedError, NotFoundError, OverBudgetError
from phenostream.profiles import duplicates
from phenostream.profiles.operating import operate


def test_a_repeated_cell_is_refused_or_left_out(cells):
    table = pa.concat_tables([cells(), cells().slice(10, 3)])
    with pytest.raises(DamagedError, match="3 rows repeat the CellId of another, first row 240"):
        operate(table, "distinct")
    first = operate(table, "distinct", twice="first")
    assert first.table().equals(cells())
    assert first.told == {"rows": 243, "duplicates": 3, "unnamed": 0, "by": ["CellId"]}
    assert first.rejected["row"].to_pylist() == [240, 241, 242]
    assert operate(table, "distinct", twice="drop").table().num_rows == 237


def test_names_of_several_columns_do_not_run_together():
    table = pa.table({"a": ["ab", "a", "ab", None], "b": ["c", "bc", "d", "c"], "n": [1, 1, 1, 1]})
    assert operate(table, "distinct", by=["a", "b"]).told["duplicates"] == 0
    assert operate(table, "distinct", by=["n"], twice="first").source.count() == 1


def test_tables_without_repeats_or_rows(cells):
    assert operate(cells(), "distinct").table().equals(cells())
    nothing = operate(cells().slice(0, 0), "distinct")
    assert nothing.told == {"rows": 0, "duplicates": 0, "unnamed": 0, "by": ["CellId"]}
    with pytest.raises(NotFoundError, match="no CellId, and no columns of image and place"):
        operate(cells().select(["Metadata_Plate", "Nuclei_AreaShape_Area"]), "distinct")
    with pytest.raises(NotFoundError, match="CellId"):
        operate(cells().drop_columns(["CellId"]), "distinct", by=["CellId"])


@pytest.mark.parametrize("twice", ["first", "drop"])
@pytest.mark.parametrize("pieces", [7, 1000])
def test_many_repeats_as_pandas(monkeypatch, twice, pieces):
    monkeypatch.setattr("phenostream.profiles.tables.PIECE_ROWS", pieces)
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.integers(0, 20, 300).astype(str), "b": rng.integers(0, 10, 300)})
    done = operate(table, "distinct", by=["a", "b"], twice=twice)
    keep = ~table.to_pandas().duplicated(keep="first" if twice == "first" else False)
    assert done.source.count() == keep.sum()
    assert done.table().equals(table.filter(pa.array(keep)))
    assert sorted(done.rejected["row"].to_pylist()) == np.flatnonzero(~keep).tolist()
    assert done.told["duplicates"] == table.to_pandas().duplicated().sum()


def test_names_that_only_share_a_hash_are_two(monkeypatch):
    monkeypatch.setattr(duplicates, "text_hashes", lambda data, bounds, hashes: hashes.fill(7))
    table = pa.table({"a": ["x", "y", "z", "y", "y", "x"]})
    done = operate(table, "distinct", by=["a"], twice="first")
    assert done.table()["a"].to_pylist() == ["x", "y", "z"]
    assert operate(table, "distinct", by=["a"], twice="drop").table()["a"].to_pylist() == ["z"]


def test_rows_without_a_name_are_counted_and_stay(cells, replaced):
    table = replaced(cells(), CellId=[None] * 5 + [f"{row}" for row in range(235)])
    done = operate(table, "distinct")
    assert done.told["unnamed"] == 5
    assert done.source.count() == 240


@pytest.mark.parametrize(
    ("columns", "used"),
    [
        (("Metadata_Plate", "Metadata_Well", "Metadata_Site", "Location_Center_X", "Location_Center_Y"), None),
        (("Metadata_Plate", "ImageNumber", "Cells_Location_Center_X", "Cells_Location_Center_Y"), None),
        (("Metadata_ImageNumber", "Metadata_ObjectNumber"), None),
        (("Metadata_Plate", "CellId"), ["CellId"]),
    ],
)
def test_without_ids_image_and_place_name_a_cell(columns, used):
    """Tables of idrstream and DeepProfiler, of CellProfiler, of pycytominer; and one with ids."""
    place = [1.5, 2.5, 2.5, None, None]
    one = {name: place if name == columns[-1] else ["1"] * 5 for name in columns}
    if len(columns) > 3:
        one[columns[-2]] = [1.0, 2.0, 2.0, None, None]
    done = operate(pa.table({**one, "value": range(5)}), "distinct", twice="first")
    assert done.told == {"rows": 5, "duplicates": 1, "unnamed": 2, "by": used or list(columns)}
    assert done.table()["value"].to_pylist() == [0, 1, 3, 4]


def test_names_that_do_not_fit_are_refused(cells):
    with pytest.raises(OverBudgetError, match="names of 240 rows"):
        operate(cells(), "distinct", memory=8 * 240 - 1)
    assert operate(cells(), "distinct", memory=8 * 240).told["rows"] == 240
    with pytest.raises(OverBudgetError, match="240 repeated rows of 480"):
        operate(pa.concat_tables([cells(), cells()]), "distinct", twice="first", memory=8 * 480)


@pytest.mark.parametrize(("copies", "most"), [(1, 12), (2, 45)])
def test_memory_a_row(bytes_a_row, copies, most):
    """Eight bytes of a row that stands once, 8 + 1 + 73 / 2 where every row stands twice; and what growing takes."""

    def make(rows):
        ids = pa.array([f"{row:032x}" for row in range(rows // copies)])
        return pa.table({"CellId": pa.concat_arrays([ids] * copies)})

    assert bytes_a_row(make, lambda table: operate(table, "distinct", twice="first")) < most
