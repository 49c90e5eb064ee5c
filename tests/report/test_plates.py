"""Layouts of all plates one can buy, and colours and words of wells."""

from __future__ import annotations

import pytest

from phenostream.report.facts import gather
from phenostream.report.plates import layout, lines, number, place_of, plates, row_name

CROSS, DASH = "\u00d7", "\u2013"


@pytest.mark.parametrize(
    ("wells", "size", "labels"),
    [
        (["A1", "B3"], (2, 3), ("B", "3")),
        (["C4"], (3, 4), ("C", "4")),
        (["D6"], (4, 6), ("D", "6")),
        (["F8"], (6, 8), ("F", "8")),
        (["A01", "H12"], (8, 12), ("H", "12")),
        (["P24"], (16, 24), ("P", "24")),
        (["AF48"], (32, 48), ("AF", "48")),
        (["AG50"], (33, 50), ("AG", "50")),
    ],
)
def test_the_smallest_plate_that_fits(wells, size, labels):
    made = layout(wells)
    assert (made.rows, made.columns) == size
    assert (made.row_labels[-1], made.column_labels[-1]) == labels


def test_places_by_name():
    assert place_of("A1") == (0, 0)
    assert place_of("h012") == (7, 11)
    assert place_of("AF48") == (31, 47)
    assert place_of("field_1") is None
    assert [row_name(index) for index in (0, 25, 26, 31)] == ["A", "Z", "AA", "AF"]


def test_wells_of_other_names_are_laid_out_in_reading_order():
    made = layout([f"position {index}" for index in range(30)])
    assert (made.rows, made.columns) == (2, 24)
    assert made.places["position 25"] == (1, 1)
    assert made.row_labels == ()


def test_maps_of_a_run(run):
    facts = gather(run)
    made = plates(facts)
    assert [plate.name for plate in made] == ["LT0001_02", "LT0004_06"]
    titles = [one.title for one in made[0].maps]
    assert titles == ["Cells per field", "Mean intensity, DNA", "Focus, DNA", "Not measured"]
    cells = {mark.text.split(":")[0]: mark for mark in made[0].maps[0].marks}
    assert (cells["B2"].sign, cells["B2"].colour) == (CROSS, "")
    assert "1 damaged" in cells["B2"].text
    assert cells["A2"].sign == "·"
    assert "1 waiting" in cells["A2"].text
    assert cells["A1"].colour.startswith("#")


def test_a_well_of_which_some_is_missing_has_a_value_and_a_sign(run):
    made = plates(gather(run))[1]
    partly = next(mark for mark in made.maps[0].marks if mark.text.startswith("A1:"))
    assert partly.sign == "/"
    assert partly.colour.startswith("#")
    state = next(mark for mark in made.maps[-1].marks if mark.text.startswith("A1:"))
    assert state.text == "A1: 1 of 2 measured; 1 empty"
    assert state.colour == "var(--partly)"


def test_the_table_says_what_the_maps_show(run):
    made = plates(gather(run))[0]
    assert made.header == ["Well", "Cells per field", "Mean intensity, DNA", "Focus, DNA", "Cells", "Fields"]
    by_name = {row[0]: row for row in made.table}
    assert by_name["B2"][1:] == [DASH, DASH, DASH, "0", "0 of 1"]
    mark = next(mark for mark in made.maps[0].marks if mark.text.startswith("C1:"))
    assert mark.text == f"C1: {by_name['C1'][1]}"


def test_at_most_twelve_plates_are_drawn_and_all_are_listed(folder):
    for index in range(15):
        folder.add(f"P{index}", "A1", cells=3, thumbnail=False)
    facts = gather(folder.path)
    assert len(plates(facts)) == 12
    assert [line.name for line in lines(facts)] == [f"P{index}" for index in range(15)]
    assert lines(facts)[0].cells == 3


def test_large_plates_are_drawn_sparingly(folder):
    for index in range(6):
        folder.add(f"P{index}", "AF48", cells=2, thumbnail=False)
    assert 1 <= len(plates(gather(folder.path))) < 6


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.12345, "0.123"), (123.4, "123"), (12345.6, "12,346"), (1e-5, "1.00e-05"), (3e7, "3.00e+07"),
     (None, DASH), (float("nan"), DASH)],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text
