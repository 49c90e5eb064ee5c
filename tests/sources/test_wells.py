import pytest

from phenostream.errors import RecipeError
from phenostream.sources.names import natural
from phenostream.sources.wells import normal, order, well_name


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [
        ("A", "4", "A4"),
        ("a", "04", "A4"),
        ("1", "4", "A4"),
        ("16", "024", "P24"),
        ("27", "1", "AA1"),
        ("AF", "48", "AF48"),
        ("032", "48", "AF48"),
    ],
)
def test_names_of_wells(row, column, name):
    assert well_name(row, column) == name


@pytest.mark.parametrize("well", ["A4", "a04", "A-04", "A 4", "A004", " A4 "])
def test_wells_have_one_name(well):
    assert normal(well) == "A4"


@pytest.mark.parametrize("well", ["", "4", "A", "A0", "AAA1", "A100", "4A", "A4x"])
def test_what_is_no_well_is_refused(well):
    with pytest.raises(RecipeError, match="not a well"):
        normal(well)


def test_plate_order():
    wells = ["B1", "A10", "AA1", "A2", "Z1", "A1", "control"]
    assert sorted(wells, key=order) == ["A1", "A2", "A10", "B1", "Z1", "AA1", "control"]


def test_every_well_of_1536_has_its_place():
    wells = [well_name(str(row), str(column)) for row in range(1, 33) for column in range(1, 49)]
    assert sorted(wells, key=order) == wells
    assert len(set(wells)) == 1536


def test_numbers_in_names_count_as_numbers():
    assert sorted(["s10", "s2", "s1", "t", "10", "9"], key=natural) == ["9", "10", "s1", "s2", "s10", "t"]
