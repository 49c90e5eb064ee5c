"""Plate maps: joined, and what does not fit counted."""

from __future__ import annotations

import pyarrow as pa
import pytest

from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.operating import operate

MAP = pa.table({"well_position": ["A01", "A02", "B01"], "gene": ["g1", "g2", "g3"], "dose": ["1", "2", "3"]})


def test_wells_written_in_two_ways_are_the_same_wells(cells, tmp_path):
    table = cells()
    wells = table["Metadata_Well"].to_pylist()
    done = operate(table, "annotate", table=MAP, unmatched="keep")
    wanted = {"A1": "g1", "A2": "g2", "B1": "g3", "B2": None}
    assert done.table()["Metadata_gene"].to_pylist() == [wanted[well] for well in wells]
    assert done.told == {"rows": 240, "unmatched_rows": 60, "unmatched": [["B2"]], "unused": 0}
    (tmp_path / "map.csv").write_text("well_position,gene\nA01,g1\nA02,g2\nB01,g3\nB02,g4\nC01,g5\n")
    filed = operate(table, "annotate", table=tmp_path / "map.csv")
    assert filed.told["unused"] == 1
    assert filed.table()["Metadata_gene"].null_count == 0


def test_unmatched_rows_are_refused_or_dropped(cells):
    with pytest.raises(RecipeError, match=r"does not know 60 of 240 rows, first \('B2',\)"):
        operate(cells(), "annotate", table=MAP)
    done = operate(cells(), "annotate", table=MAP, unmatched="drop", columns=["gene"])
    assert done.source.count() == done.table().num_rows == 180
    assert "Metadata_dose" not in done.table().column_names


def test_a_plate_map_by_plate(cells):
    plates = pa.table({"plate": ["P0", "P1", "P2"], "batch": ["1", "1", "2"]})
    done = operate(cells(), "annotate", table=plates, match={"Metadata_Plate": "plate"})
    assert done.table()["Metadata_batch"].to_pylist() == ["1"] * 160 + ["2"] * 80


def test_plate_maps_that_cannot_be_joined(cells, tmp_path):
    with pytest.raises(RecipeError, match="stands twice"):
        operate(cells(), "annotate", table=pa.concat_tables([MAP, MAP]))
    with pytest.raises(RecipeError, match="already have a column Metadata_Control"):
        operate(cells(), "annotate", table=MAP.rename_columns(["well_position", "Control", "dose"]))
    with pytest.raises(NotFoundError, match="well_position"):
        operate(cells(), "annotate", table=MAP.rename_columns(["well", "gene", "dose"]))
    with pytest.raises(NotFoundError, match="no table"):
        operate(cells(), "annotate", table=tmp_path / "none.csv")
