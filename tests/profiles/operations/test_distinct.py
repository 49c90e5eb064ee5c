"""No cell twice."""

from __future__ import annotations

import pyarrow as pa
import pytest

from phenostream.errors import DamagedError, NotFoundError
from phenostream.profiles.operating import operate


def test_a_repeated_cell_is_refused_or_left_out(cells):
    table = pa.concat_tables([cells(), cells().slice(10, 3)])
    with pytest.raises(DamagedError, match="3 rows repeat the CellId of another, first row 240"):
        operate(table, "distinct")
    first = operate(table, "distinct", twice="first")
    assert first.table().equals(cells())
    assert first.told == {"rows": 243, "duplicates": 3}
    assert first.rejected["row"].to_pylist() == [240, 241, 242]
    assert operate(table, "distinct", twice="drop").table().num_rows == 237


def test_names_of_several_columns_do_not_run_together():
    table = pa.table({"a": ["ab", "a", "ab", None], "b": ["c", "bc", "d", "c"], "n": [1, 1, 1, 1]})
    assert operate(table, "distinct", by=["a", "b"]).told["duplicates"] == 0
    assert operate(table, "distinct", by=["n"], twice="first").source.count() == 1


def test_tables_without_repeats_or_rows(cells):
    assert operate(cells(), "distinct").table().equals(cells())
    assert operate(cells().slice(0, 0), "distinct").told == {"rows": 0, "duplicates": 0}
    with pytest.raises(NotFoundError, match="CellId"):
        operate(cells().drop_columns(["CellId"]), "distinct")
