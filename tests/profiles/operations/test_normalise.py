"""Centres and scales: against scikit-learn and SciPy, plate by plate, saved and applied again."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.preprocessing import RobustScaler, StandardScaler

from phenostream.errors import DamagedError, NotFoundError, OverBudgetError, RecipeError
from phenostream.profiles.operating import operate
from phenostream.profiles.tables import Held, write_table
from phenostream.values import columns_of

CONTROLS = {"Metadata_Control": "negative"}


def matrix(table, names):
    return np.column_stack([table.column(name).to_numpy() for name in names])


def parts(table, names):
    plate = np.array(table.column("Metadata_Plate").to_pylist())
    control = np.array(table.column("Metadata_Control").to_pylist()) == "negative"
    return matrix(table, names), plate, control


@pytest.mark.parametrize(("method", "scaler"), [("standard", StandardScaler), ("robust", RobustScaler)])
def test_by_plate_on_controls_as_scikit_learn(cells, names, method, scaler):
    table = cells()
    values, plate, control = parts(table, names)
    done = operate(table, "normalise", method=method, by=["Metadata_Plate"], controls=CONTROLS)
    for one in np.unique(plate):
        wanted = scaler().fit(values[(plate == one) & control]).transform(values[plate == one])
        np.testing.assert_allclose(matrix(done.table(), names)[plate == one], wanted, rtol=1e-11, atol=1e-11)
    assert done.told == {"groups": 3, "features": 3, "spreadless": {}, "duplicate_ids": 0}


def test_mad_as_scipy(cells, names):
    table = cells(kind=np.float32)
    values, plate, control = parts(table, names)
    found = operate(table, "normalise", method="mad", by=["Metadata_Plate"], controls=CONTROLS).table()
    for one in np.unique(plate):
        fit = values[(plate == one) & control].astype(float)
        wanted = (values[plate == one] - np.median(fit, axis=0)) / (1.4826 * stats.median_abs_deviation(fit))
        np.testing.assert_allclose(matrix(found, names)[plate == one], wanted, rtol=2e-6, atol=2e-6)
    assert found.schema.field(names[0]).type == pa.float32()


def test_places_and_metadata_stay_as_they_are(cells):
    table = cells()
    found = operate(table, "normalise").table()
    for name in ("CellId", "Metadata_Plate", "Metadata_Dose", "Nuclei_AreaShape_Center_X"):
        assert found.column(name).equals(table.column(name))
    assert columns_of(found.schema) == columns_of(table.schema)
    assert found.column_names == table.column_names


def test_the_input_is_not_changed(cells):
    table = cells()
    operate(table, "normalise").table()
    assert table.equals(cells())


def test_what_was_fitted_is_saved_and_applied_to_other_rows(cells, names, tmp_path):
    done = operate(cells(), "normalise", method="mad", by=["Metadata_Plate"], controls=CONTROLS)
    pq.write_table(done.fitted, tmp_path / "fitted.parquet")
    fitted = pq.ParquetFile(tmp_path / "fitted.parquet").read()
    other = cells(seed=5)
    found = operate(other, "normalise", fitted=fitted).table()
    row = {(r["Metadata_Plate"], r["feature"]): r for r in fitted.to_pylist()}
    for name in names:
        plates = other.column("Metadata_Plate").to_pylist()
        wanted = [(value - row[plate, name]["centre"]) / row[plate, name]["scale"]
                  for plate, value in zip(plates, other.column(name).to_pylist(), strict=True)]  # fmt: skip
        np.testing.assert_array_equal(found.column(name).to_numpy(), wanted)
    assert {row["count"] for row in fitted.to_pylist()} == {40}


def test_a_group_that_was_not_fitted_is_named(cells):
    fitted = operate(cells(plates=2), "normalise", by=["Metadata_Plate"]).fitted
    with pytest.raises(NotFoundError, match="Metadata_Plate P2"):
        operate(cells(), "normalise", fitted=fitted).table()
    with pytest.raises(DamagedError, match="scale"):
        operate(cells(), "normalise", fitted=fitted.drop_columns(["scale"]))


def test_a_plate_without_controls_is_an_error_or_a_counted_exclusion(cells, replaced):
    table = cells()
    plates, words = (table[name].to_pylist() for name in ("Metadata_Plate", "Metadata_Control"))
    control = ["compound" if plate == "P1" else word for plate, word in zip(plates, words, strict=True)]
    table = replaced(table, Metadata_Control=control)
    settings = {"by": ["Metadata_Plate"], "controls": CONTROLS}
    with pytest.raises(RecipeError, match="1 of 3 groups have fewer than 2 rows to fit on: Metadata_Plate P1"):
        operate(table, "normalise", **settings)
    done = operate(table, "normalise", unfitted="drop", **settings)
    assert done.told["dropped_rows"] == 80
    assert done.told["dropped_groups"] == ["Metadata_Plate P1"]
    assert done.source.count() == done.table().num_rows == 160
    assert set(done.table()["Metadata_Plate"].to_pylist()) == {"P0", "P2"}
    with pytest.raises(RecipeError, match="3 of 3 groups"):
        operate(table, "normalise", by=["Metadata_Plate"], controls={"Metadata_Control": "none"}, unfitted="drop")


def test_constant_and_empty_features_are_missing_and_counted(cells, names, replaced):
    table = cells()
    flat = np.where(np.array(table["Metadata_Plate"].to_pylist()) == "P1", 0.1, np.arange(240.0))
    table = replaced(table, **{names[0]: flat, names[1]: np.full(240, np.nan)})
    done = operate(table, "normalise", by=["Metadata_Plate"])
    assert done.told["spreadless"] == {names[0]: 1, names[1]: 3}
    found = done.table()
    plates = np.array(found["Metadata_Plate"].to_pylist())
    assert np.isnan(found[names[0]].to_numpy()[plates == "P1"]).all()
    assert np.isfinite(found[names[0]].to_numpy()[plates != "P1"]).all()
    kept = operate(table, "normalise", by=["Metadata_Plate"], spreadless="keep").table()
    np.testing.assert_allclose(kept[names[0]].to_numpy()[plates == "P1"], 0, atol=1e-12)


def test_infinities_and_nulls_do_not_count(cells, names, replaced):
    table = cells()
    values = table[names[0]].to_numpy().copy()
    values[:3] = [np.inf, -np.inf, np.nan]
    found = operate(replaced(table, **{names[0]: values}), "normalise").table()[names[0]].to_numpy()
    assert np.isnan(found[:3]).all()
    assert found[3:].mean() == pytest.approx(0, abs=1e-12)
    assert found[3:].std() == pytest.approx(1)


def test_integers_are_features_too(cells, names, replaced):
    table = replaced(cells(), **{names[0]: np.arange(240)})
    found = operate(table, "normalise").table()
    assert found.schema.field(names[0]).type == pa.float64()
    np.testing.assert_allclose(found[names[0]].to_numpy(), stats.zscore(np.arange(240)))


def test_bad_tables_and_settings_are_named(cells, names, replaced):
    table = cells()
    with pytest.raises(RecipeError, match="holds string, not numbers"):
        operate(replaced(table, **{names[0]: ["x"] * 240}), "normalise")
    with pytest.raises(NotFoundError, match="no column 'Metadata_Nothing'"):
        operate(table, "normalise", by=["Metadata_Nothing"])
    with pytest.raises(NotFoundError, match="no column 'Nuclei_No'"):
        operate(table, "normalise", features=["Nuclei_No"])
    with pytest.raises(NotFoundError, match="no features"):
        operate(table.select(["CellId", "Metadata_Plate"]), "normalise")
    with pytest.raises(NotFoundError, match="no rows"):
        operate(table.slice(0, 0), "normalise")
    with pytest.raises(RecipeError, match="method"):
        operate(table, "normalise", method="nonsense")
    with pytest.raises(RecipeError, match="no operation 'nothing'"):
        operate(table, "nothing")
    doubled = pa.table([table[names[0]], table[names[0]]], names=[names[0]] * 2)
    with pytest.raises(DamagedError, match="twice"):
        operate(doubled, "normalise", features=[names[0]])


def test_rows_in_any_number_of_pieces_give_the_same(cells, names, tmp_path):
    table = cells(kind=np.float32)
    whole = operate(table, "normalise", method="mad", by=["Metadata_Plate"], controls=CONTROLS).table()
    for number, size in enumerate((1, 7, 239)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for place, start in enumerate(range(0, 240, 80)):
            write_table(Held(table.slice(start, 80)), folder / f"{place}.parquet", rows=size)
        found = operate(folder, "normalise", method="mad", by=["Metadata_Plate"], controls=CONTROLS).table()
        for name in names:
            np.testing.assert_array_equal(found[name].to_numpy(), whole[name].to_numpy())


def test_medians_that_do_not_fit_are_refused_before_they_are_read(cells):
    with pytest.raises(OverBudgetError, match="memory"):
        operate(cells(rows=5000), "normalise", method="mad", memory=1000)


def test_a_small_memory_gives_the_same_numbers(cells, names):
    table = cells(rows=5000)
    one = operate(table, "normalise", method="robust", by=["Metadata_Plate"], memory=90_000).table()
    two = operate(table, "normalise", method="robust", by=["Metadata_Plate"]).table()
    for name in names:
        np.testing.assert_array_equal(one[name].to_numpy(), two[name].to_numpy())


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), st.integers(1, 4))
def test_order_statistics_as_numpy(values, groups):
    from phenostream.profiles.kernels import grouped_order, order_statistics

    data = np.array(values)
    codes = (np.arange(len(data)) % groups).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=groups))])
    order, found = np.empty(len(data), np.int32), np.empty((groups, 5))
    grouped_order(codes, starts, order)
    order_statistics(data, order, starts, np.array([0.5, 0.25, 0.75]), found)
    for group in range(groups):
        own = data[codes == group]
        if not len(own):
            assert found[group, 0] == 0
            continue
        wanted = [len(own), *np.percentile(own, [50, 25, 75]), stats.median_abs_deviation(own)]
        np.testing.assert_allclose(found[group], wanted, rtol=1e-12, atol=1e-9)
