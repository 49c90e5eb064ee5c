"""Rows of two programs: one to one, the best pairs, and nobody lost in silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from phenostream.errors import NotFoundError, OverBudgetError, RecipeError
from phenostream.profiles.matching import match_points
from phenostream.profiles.operating import operate
from phenostream.profiles.operations import merge
from phenostream.profiles.tables import Held, open_table, whole, write_table
from phenostream.values import Column, with_columns

KEYS = {"by": ["Metadata_Plate", "Metadata_Well"]}


def rows(places, wells, values, name="Area"):
    table = pa.table(
        {
            "Metadata_Plate": ["P"] * len(wells),
            "Metadata_Well": wells,
            "Location_Center_X": [float(x) for x, _ in places],
            "Location_Center_Y": [float(y) for _, y in places],
            name: [float(value) for value in values],
        }
    )
    return with_columns(table, [Column(name, "feature")])


def test_each_row_once_and_those_alone_listed():
    left = rows([(0, 0), (4, 0), (50, 50), (9, 9)], ["A1", "A1", "A1", "B1"], [1, 2, 3, 4])
    right = rows([(3, 0), (5, 0), (200, 0), (1, 1)], ["A1", "A1", "A1", "C1"], [10, 20, 30, 40], "Deep")
    done = operate(left, "merge", table=right, limit=10, **KEYS)
    found = done.table()
    # The nearest neighbour of both left cells is (3, 0): one to one, both find a partner.
    assert found["CP__Area"].to_pylist() == [1, 2]
    assert found["DP__Deep"].to_pylist() == [10, 20]
    assert found["Metadata_Match_Distance"].to_pylist() == [3, 1]
    assert done.told["unmatched"] == {"CP__": {"no-field": 1, "unmatched": 1}, "DP__": {"no-field": 1, "unmatched": 1}}
    alone = done.rejected.to_pylist()
    assert [(one["side"], one["row"], one["reason"]) for one in alone] == [
        ("CP__", 2, "unmatched"), ("CP__", 3, "no-field"), ("DP__", 2, "unmatched"), ("DP__", 3, "no-field"),
    ]  # fmt: skip
    assert found.num_rows * 2 + len(alone) == left.num_rows + right.num_rows


def test_keys_of_another_type_and_rows_without_a_place():
    left = rows([(0, 0), (np.nan, 0)], ["1", "1"], [1, 2])
    right = rows([(0, 1)], ["1"], [10], "Deep")
    right = right.set_column(1, "Metadata_Well", pa.array([1]))
    done = operate(left, "merge", table=right, **KEYS)
    assert done.told["pairs"] == 1
    assert done.told["unmatched"]["CP__"] == {"no-place": 1}


def test_roles_and_descriptions_come_along():
    found = operate(rows([(0, 0)], ["A1"], [1]), "merge", table=rows([(0, 0)], ["A1"], [2]), **KEYS).table()
    from phenostream.values import columns_of

    assert {column.name for column in columns_of(found.schema) if column.role == "feature"} == {"CP__Area", "DP__Area"}


def test_the_same_prefix_twice_is_refused():
    one = rows([(0, 0)], ["A1"], [1])
    with pytest.raises(RecipeError, match="both tables have a column"):
        operate(one, "merge", table=one, prefixes=["", ""], **KEYS)
    with pytest.raises(NotFoundError, match="Metadata_Site"):
        operate(one, "merge", table=one)


def test_a_disturbed_field_keeps_every_cell():
    """Centroids that disagree by 2 px: the nearest-neighbour join loses cells, this one does not."""
    rng = np.random.default_rng(0)
    grid = np.array([(x, y) for x in range(0, 400, 20) for y in range(0, 200, 20)], float)
    moved = rng.permutation(len(grid))
    other = (grid + rng.normal(scale=2, size=grid.shape))[moved]
    left = rows(grid, ["A1"] * len(grid), range(len(grid)))
    right = rows(other, ["A1"] * len(grid), moved, "Deep")
    found = operate(left, "merge", table=right, **KEYS).table()
    assert found.num_rows == 200
    assert found["CP__Area"].to_pylist() == found["DP__Deep"].to_pylist()


class Counted:
    """A source that counts how often all of it is begun to be read."""

    def __init__(self, of):
        self.of, self.begun = of, 0

    def schema(self):
        return self.of.schema()

    def count(self):
        return self.of.count()

    def tables(self, names=None):
        self.begun += 1
        return self.of.tables(names)


@pytest.fixture
def fields(tmp_path):
    """Two files of 40 fields with 30 cells each, in small row groups; the fields of the second in any order."""

    def make(order):
        rng = np.random.default_rng(1)
        for name, fields, shift in (("Area", range(40), 0.0), ("Deep", order, 1.0)):
            parts = []
            for field in fields:
                cells = rng.permutation(30)
                places = np.column_stack([cells % 6, cells // 6]) * 20 + shift
                parts.append(rows(places, [f"W{field:02d}"] * 30, 100 * field + cells, name))
            write_table(Held(pa.concat_tables(parts)), tmp_path / f"{name}.parquet", rows=64)
        return open_table(tmp_path / "Area.parquet"), open_table(tmp_path / "Deep.parquet")

    return make


def joined_within(memory, done):
    """`done`, whose rows are joined in `memory` bytes; the places that were compared before need more."""
    return replace(done, source=replace(done.source, memory=memory))


@pytest.mark.parametrize("memory", [1 << 30, 50_000, 1000])
@pytest.mark.parametrize("way", ["same", "reversed", "shuffled"])
def test_files_are_joined_piece_by_piece_whatever_their_order(fields, way, memory):
    order = {"same": range(40), "reversed": range(39, -1, -1), "shuffled": np.random.default_rng(2).permutation(40)}
    left, right = fields(order[way])
    done = joined_within(memory, merge.merged(left, right, merge.Settings(table=Path("unused"), **KEYS)))
    found = done.table()
    assert found.num_rows == done.source.count() == 1200
    assert found["CP__Area"].to_pylist() == found["DP__Deep"].to_pylist() == whole(left)["Area"].to_pylist()
    assert done.source.schema() == found.schema
    only = pa.concat_tables(list(done.source.tables(["DP__Deep", "Metadata_Match_Distance"])))
    assert only["DP__Deep"].to_pylist() == found["DP__Deep"].to_pylist()
    np.testing.assert_allclose(only["Metadata_Match_Distance"].to_numpy(), np.sqrt(2))


@pytest.mark.parametrize(("way", "often"), [("same", 1), ("reversed", 3)])
def test_a_table_in_step_is_read_once(fields, way, often):
    left, right = fields(range(40) if way == "same" else range(39, -1, -1))
    counted = Counted(right)
    done = joined_within(8_000, merge.merged(left, counted, merge.Settings(table=Path("unused"), **KEYS)))
    before = counted.begun
    list(done.source.tables(["CP__Area", "DP__Deep"]))
    # One more for the size of a row.
    assert counted.begun - before == often + 1


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 10_000))
def test_the_cost_is_the_least_there_is(first, second, seed):
    rng = np.random.default_rng(seed)
    one, two = (np.round(rng.uniform(0, 20, (size, 2))) for size in (first, second))
    limit = 6.0
    rows_, columns, away = match_points(one, two, limit)
    assert len(set(rows_)) == len(rows_)
    assert len(set(columns)) == len(columns)
    assert (away <= limit).all()
    # The whole problem at once: a pair beyond the limit costs as much as two cells left alone.
    costs = np.minimum(cdist(one, two), limit)
    best = costs[linear_sum_assignment(costs)].sum()
    assert away.sum() + (min(first, second) - len(rows_)) * limit == pytest.approx(best)


def grid(count, shift=0.0, name="Area"):
    """`count` cells in fields of 1,000."""
    cell, field = np.arange(count) % 1000, np.arange(count) // 1000
    table = {
        "Metadata_Plate": ["P"] * count, "Metadata_Well": [f"W{one}" for one in field],
        "Location_Center_X": cell % 40 * 40.0 + shift, "Location_Center_Y": cell // 40 * 40.0 + shift,
        name: np.zeros(count),
    }  # fmt: skip
    return with_columns(pa.table(table), [Column(name, "feature")])


def test_places_that_do_not_fit_are_refused():
    with pytest.raises(OverBudgetError, match=r"the places of 4,000 cells of both tables need 0.2 MiB"):
        operate(grid(2000), "merge", table=grid(2000, 1.0, "Deep"), memory=44 * 4000 - 1, **KEYS)
    done = operate(grid(2000), "merge", table=grid(2000, 1.0, "Deep"), memory=44 * 4000, **KEYS)
    assert done.told["pairs"] == 2000
    with pytest.raises(OverBudgetError, match=r"4,000 cells of both tables need 0.5 MiB"):
        operate(grid(2000), "merge", table=grid(2000, 20.0, "Deep"), memory=44 * 4000, **KEYS)


def test_memory_a_cell(bytes_a_row):
    """What is refused beyond `memory`, 44 bytes a cell of either table, is what is held."""

    def make(count):
        return grid(count), grid(count, 1.0, "Deep")

    assert bytes_a_row(make, lambda sides: operate(sides[0], "merge", table=sides[1], **KEYS)) / 2 < 48
