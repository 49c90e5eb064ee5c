import gzip

import pytest

from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.sources import open_store
from phenostream.sources.tables import parse, read, rows

ALL = ("plate", "well", "site", "experiment")


def test_a_table_by_plate_and_well():
    table = parse(b"Metadata_Plate,Metadata_Well,gene\nP1,A01,COPB\nP2,A01,KIF11\n", "m.csv", ALL)
    assert table.by == ("plate", "well")
    assert table.of({"plate": "P2", "well": "A1"}) == {"gene": "KIF11"}
    assert table.of({"plate": "P3", "well": "A1"}) == {}


def test_a_table_by_row_and_column(data):
    raw = (data / "fields" / "sbs_plate" / "1049_Metadata.csv").read_bytes()
    table = parse(raw, "1049_Metadata.csv", ("well", "row", "column", "channel"))
    assert len(table.rows) == 96
    assert table.of({"well": "B2"}) == {"ImageNumber": "14", "SBS_Doses": "0", "SBS_Controls": "-1"}


def test_a_table_may_be_tabbed_packed_and_marked():
    raw = gzip.compress("\ufeffWell\tdose\nB2\t5\n".encode())
    assert parse(raw, "m.tsv.gz", ALL).of({"well": "B2"}) == {"dose": "5"}


def test_leading_zeros_of_plates_and_sites_do_not_matter():
    table = parse(b"plate,well,site,x\n01,A1,02,y\n", "m.csv", ALL)
    assert table.of({"plate": "1", "well": "A1", "site": "2"}) == {"x": "y"}


def test_empty_cells_are_left_out_and_equal_rows_are_one():
    table = parse(b"well,x,y\nA1,,2\nA1,,2\n", "m.csv", ALL)
    assert table.of({"well": "A1"}) == {"y": "2"}


def test_two_stories_of_one_well_are_refused():
    with pytest.raises(RecipeError, match="two things of A1"):
        parse(b"well,x\nA1,1\nA01,2\n", "m.csv", ALL)


def test_columns_that_the_names_do_not_tell_do_not_join():
    table = parse(b"plate,site,well,x\nP,1,A1,7\n", "m.csv", ("well",))
    assert table.of({"well": "A1"}) == {"plate": "P", "site": "1", "x": "7"}


def test_a_table_without_anything_to_join_on_is_refused():
    with pytest.raises(RecipeError, match="join"):
        parse(b"x,y\n1,2\n", "m.csv", ALL)


@pytest.mark.parametrize("raw", [b"", b"well,x\n", b"\xff\xfe\x00well", b"\x1f\x8bbroken"])
def test_what_is_no_table_is_named(raw):
    with pytest.raises(DamagedError, match=r"m\.csv"):
        parse(raw, "m.csv", ALL)


def test_rows_as_they_stand():
    assert rows(b"a,b\n1,\n2,3,4\n", "m.csv") == [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]


def test_a_table_lies_at_a_path_a_url_or_below_the_store(tmp_path):
    (tmp_path / "below").mkdir()
    for place in ("m.csv", "below/m.csv"):
        (tmp_path / place).write_text(place)
    store = open_store(str(tmp_path / "below"))
    assert read(str(tmp_path / "m.csv"), store, setting="metadata") == b"m.csv"
    assert read(f"file://{tmp_path}/m.csv", store, setting="metadata") == b"m.csv"
    assert read("m.csv", store, setting="metadata") == b"below/m.csv"
    with pytest.raises(NotFoundError, match="correct metadata in the source's settings"):
        read(str(tmp_path / "lost.csv"), store, setting="metadata")
