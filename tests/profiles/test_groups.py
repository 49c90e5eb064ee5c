"""Keys and controls: what a person writes finds its rows, whatever type the column has."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenostream.errors import RecipeError
from phenostream.profiles.groups import Groups, as_text, control_rows, known_rows
from phenostream.profiles.operating import operate
from phenostream.profiles.roles import described

DOSES = [0.1, 0.3, 10.0, None, float("nan"), 0.1]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_floats_are_written_as_a_person_writes_them(kind: pa.DataType) -> None:
    column = pa.array(DOSES, pa.float64()).cast(kind)
    assert as_text(column).to_pylist() == ["0.1", "0.3", "10", None, None, "0.1"]
    assert as_text(pa.chunked_array([column, column])).to_pylist()[6:] == as_text(column).to_pylist()


@given(st.lists(st.floats(allow_nan=False), max_size=20), st.sampled_from([np.float64, np.float32]))
def test_the_text_of_a_float_gives_the_same_value(values: list[float], kind: type) -> None:
    with np.errstate(over="ignore"):
        given_ = np.array(values, dtype=kind)
    texts = as_text(pa.array(given_, pa.from_numpy_dtype(kind))).to_pylist()
    np.testing.assert_array_equal(np.array([float(one) for one in texts], dtype=kind), given_)


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
@pytest.mark.parametrize("value", [0.1, "0.1", (0.1, 7)])
def test_a_dose_in_a_recipe_finds_its_rows(kind: pa.DataType, value: object) -> None:
    table = pa.table({"Metadata_Dose": pa.array(DOSES, pa.float64()).cast(kind)})
    assert control_rows(table, {"Metadata_Dose": value}).tolist() == [True, False, False, False, False, True]


def test_whole_and_endless_values_find_their_rows() -> None:
    table = pa.table({"dose": [1.0, 1e22, float("inf"), 1e-5], "text": ["1.0", "1", "x", ""]})
    for place, value in enumerate((1.0, 1e22, float("inf"), 1e-5)):
        assert np.flatnonzero(control_rows(table, {"dose": value})).tolist() == [place]
    assert control_rows(table, {"dose": 1}).tolist() == [True, False, False, False]
    assert control_rows(table, {"text": 1.0}).tolist() == [True, True, False, False]


def test_a_row_is_known_where_every_key_has_a_value() -> None:
    table = pa.table({"drug": ["a", "", None, "b"], "dose": [1.0, 1.0, 1.0, float("nan")]})
    assert known_rows(table, ["drug"]).tolist() == [True, False, False, True]
    assert known_rows(table, ["drug", "dose"]).tolist() == [True, False, False, False]


def test_nan_is_a_missing_key_and_one_group() -> None:
    groups = Groups(("dose",))
    codes = [groups.codes(pa.table({"dose": [float("nan"), 1.0, None]})).tolist() for _ in range(3)]
    assert codes == [[0, 1, 0]] * 3
    assert groups.keys == [(None,), (1.0,)]


def profiles(plates: pa.ChunkedArray | pa.Array) -> pa.Table:
    doses = [1.0, 1.0, float("nan"), float("nan"), 2.0, 2.0]
    columns = {"Metadata_Plate": plates, "Metadata_Dose": doses, "Cells_Texture_A_DNA": [1.0, 2.0, 3.0, 5.0, 8.0, 9.0]}
    return described(pa.table(columns))


def test_rows_without_a_dose_are_normalised_by_themselves() -> None:
    made = operate(profiles(pa.array(list("aabbcc"))), "normalise", by=["Metadata_Dose"])
    np.testing.assert_allclose(made.table().column("Cells_Texture_A_DNA").to_numpy(), [-1, 1] * 3)


@pytest.mark.parametrize("operation", ["normalise", "aggregate"])
def test_a_categorical_key_is_as_good_as_text(operation: str) -> None:
    pieces = [pa.array(list("aab")).dictionary_encode(), pa.array(list("bcc")).dictionary_encode()]
    found = operate(profiles(pa.chunked_array(pieces)), operation, by=["Metadata_Plate"]).table()
    told = operate(profiles(pa.array(list("aabbcc"))), operation, by=["Metadata_Plate"]).table()
    for name in ("Metadata_Plate", "Cells_Texture_A_DNA"):
        assert found.column(name).to_pylist() == told.column(name).to_pylist()


def test_a_dose_that_all_rows_of_a_plate_lack_is_carried() -> None:
    made = operate(profiles(pa.array(list("aabbcc"))), "aggregate", by=["Metadata_Plate"], carry=["Metadata_Dose"])
    assert made.table().column("Metadata_Dose").to_pylist() == [1.0, None, 2.0]
    with pytest.raises(RecipeError, match="not one value"):
        operate(profiles(pa.array(list("aaaabb"))), "aggregate", by=["Metadata_Plate"], carry=["Metadata_Dose"])


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_a_plate_map_in_text_knows_doses_in_floats(kind: pa.DataType) -> None:
    rows = described(
        pa.table({"Metadata_Dose": pa.array([0.1, 10.0, 0.3]).cast(kind), "Cells_Texture_A_DNA": [1.0] * 3})
    )
    told = pa.table({"dose": ["0.1", "0.3", "10"], "name": ["low", "middle", "high"]})
    made = operate(rows, "annotate", table=told, match={"Metadata_Dose": "dose"}, wells=()).table()
    assert made.column("Metadata_name").to_pylist() == ["low", "high", "middle"]


def test_tables_with_keys_in_single_and_double_precision_merge() -> None:
    def cells(kind: pa.DataType) -> pa.Table:
        keys = {"Metadata_Depth": pa.array([0.1, 0.3]).cast(kind)}
        return described(pa.table({**keys, "Location_Center_X": [1.0, 2.0], "Location_Center_Y": [1.0, 2.0]}))

    told = operate(cells(pa.float32()), "merge", table=cells(pa.float64()), by=["Metadata_Depth"]).told
    assert (told["pairs"], told["fields"]) == (2, 2)
