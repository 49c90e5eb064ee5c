"""The index: names of sites, and types of what tables tell."""

import numpy as np
import pytest

from phenostream import datasets
from phenostream.datasets.tables import site_id, typed
from phenostream.values import Field, FieldId


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["1", "2", None], "int64"),
        (["1", "", "-7"], "int64"),
        (["0.5", "2", "1e-3"], "double"),
        (["007", "8"], "string"),
        (["1", "two"], "string"),
        (["nan", "1"], "string"),
        (["1_000", "2"], "string"),
        ([str(2**64), "1"], "string"),
        ([str(2**62 + 1), "1"], "int64"),
        ([str(2**62 + 1), "0.5"], "string"),
        ([None, ""], "string"),
    ],
)
def test_words_become_numbers_only_where_nothing_is_lost(words, kind):
    found = typed(words)
    assert str(found.type) == kind
    if kind != "double":
        assert [None if value is None else str(value) for value in found.to_pylist()] == [
            word or None for word in words
        ]


def test_a_site_has_the_name_of_its_archive_or_one_of_its_place():
    assert site_id(Field(FieldId(plate="P", well="A1", site="2"), annotation={"site_id": "own"})) == "own"
    assert site_id(Field(FieldId(plate="P", well="A1", site="2"))) == "P_A1_2"
    assert site_id(Field(FieldId(plate="P", well="A1", time=3, z=1))) == "P_A1_1_t3_z1"


def test_movies_pack_a_row_a_frame(tmp_path):
    frames = [Field.of(np.full((1, 4, 5), t + 1, np.uint8), id=FieldId(plate="P", well="A1", time=t)) for t in range(5)]
    datasets.pack(frames, tmp_path)
    pack = datasets.open_pack(tmp_path)
    assert {row["time"]: int(pack[k].max()) for k, row in enumerate(pack.table.to_pylist())} == dict(
        zip(range(5), range(1, 6), strict=True)
    )
    assert len(set(pack.table["site_id"].to_pylist())) == 5


def test_annotation_that_is_called_as_a_column_of_the_index_gets_a_tail(tmp_path):
    site = Field.of(np.ones((1, 4, 5), np.uint8), id=FieldId(plate="P", well="A1"))
    told = Field(site.id, site.channels, annotation={"offset": "7", "blank": "yes", "dose": "1.5"}, pixels=site.pixels)
    datasets.pack([told], tmp_path)
    (row,) = datasets.open_pack(tmp_path).table.to_pylist()
    assert (row["offset_"], row["blank_"], row["dose"], row["offset"]) == (7, "yes", 1.5, 0)
