"""Compress: arcsinh, beside numpy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from phenostream.profiles.operating import operate
from phenostream.values import Column, columns_of, with_columns


def table() -> pa.Table:
    made = pa.table(
        {"Metadata_Well": ["a", "b", "c"], "x": [-1000.0, 0.01, None], "y": pa.array([1, 2, 3], pa.float32())}
    )
    return with_columns(made, [Column("x"), Column("y")])


def test_values_are_arcsinh_and_gaps_stay() -> None:
    done = operate(table(), "compress", width=2.0)
    found = done.table()
    np.testing.assert_allclose(found["x"].to_pylist()[:2], 2 * np.arcsinh(np.array([-1000, 0.01]) / 2))
    assert found["x"].to_pylist()[2] is None
    assert found.schema.field("y").type == pa.float32()
    assert done.told == {"features": 2}
    assert [column.role for column in columns_of(found.schema)] == ["metadata", "feature", "feature"]


def test_only_what_is_named_is_changed() -> None:
    found = operate(table(), "compress", features=["x"]).table()
    assert found["y"].to_pylist() == [1, 2, 3]
