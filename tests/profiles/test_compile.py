"""Rows against an image whose objects are known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from phenostream.errors import WrongShapeError
from phenostream.profiles import rows
from phenostream.values import Column, Field, FieldId, Objects, cell_id, columns_of, with_columns

FIELD = Field(FieldId("s", "P1", "B2", "3", 4, 0))
LABELS = np.zeros((12, 30), np.int32)
LABELS[2:5, 4:9] = 2  # centroid y 3, x 6
LABELS[6:8, 20:22] = 7  # centroid y 6.5, x 20.5
OBJECTS = Objects(FIELD.id, LABELS, model="classical-abc")
TABLE = with_columns(
    pa.table({"ObjectNumber": pa.array([2, 7], pa.int64()), "Nuclei_AreaShape_Area": [15.0, 4.0], "q": [1.0, 2.0]}),
    [
        Column("ObjectNumber", "metadata"),
        Column("Nuclei_AreaShape_Area", "feature", "Nuclei", "AreaShape", unit="px^2"),
        Column("q", "qc"),
    ],
)
OUTLINES = [np.array([(2, 4), (2, 8), (4, 8)]), np.array([(6, 20)])]


def test_columns_come_in_the_order_of_the_contract():
    made = rows(FIELD, OBJECTS, TABLE, OUTLINES, annotations={"gene": "KIF11", "dose": "3"})
    assert made.column_names == [
        "CellId", "ObjectNumber", "Metadata_Study", "Metadata_Plate", "Metadata_Well", "Metadata_Site",
        "Metadata_Frame", "Metadata_Z", "Metadata_dose", "Metadata_gene", "Nuclei_Location_Center_X",
        "Nuclei_Location_Center_Y", "Nuclei_AreaShape_Area", "q", "Nuclei_Outline_X", "Nuclei_Outline_Y",
    ]  # fmt: skip


def test_values_are_those_of_the_image():
    made = rows(FIELD, OBJECTS, TABLE, OUTLINES, annotations={}).to_pylist()
    assert [row["CellId"] for row in made] == [cell_id(FIELD.id, number, "classical-abc") for number in (2, 7)]
    assert [(row["Nuclei_Location_Center_X"], row["Nuclei_Location_Center_Y"]) for row in made] == [(6, 3), (20.5, 6.5)]
    assert made[0]["Nuclei_Outline_X"] == [4, 8, 8]
    assert made[0]["Nuclei_Outline_Y"] == [2, 2, 4]
    assert (made[0]["Metadata_Plate"], made[0]["Metadata_Well"], made[0]["Metadata_Site"]) == ("P1", "B2", "3")
    assert made[0]["Metadata_Frame"] == 5  # archives count from 1


def test_roles_and_types_stand_in_the_schema():
    made = rows(FIELD, OBJECTS, TABLE, OUTLINES, annotations={"gene": "x"})
    told = {column.name: column for column in columns_of(made.schema)}
    assert told["Nuclei_AreaShape_Area"].role == "feature"
    assert told["Nuclei_AreaShape_Area"].unit == "px^2"
    assert told["q"].role == "qc"
    assert {told[name].role for name in ("CellId", "Metadata_gene", "Nuclei_Outline_X")} == {"metadata"}
    assert told["Nuclei_Location_Center_X"].positional
    assert made.schema.field("Nuclei_AreaShape_Area").type == pa.float32()
    assert made.schema.field("Nuclei_Outline_X").type == pa.list_(pa.int16())


def test_a_field_without_objects_has_the_same_columns():
    empty = Objects(FIELD.id, np.zeros((5, 5), np.int32))
    none = rows(FIELD, empty, TABLE.slice(0, 0), [], annotations={})
    assert none.num_rows == 0
    assert none.schema == rows(FIELD, OBJECTS, TABLE, OUTLINES, annotations={}).schema


def test_the_archive_cannot_overrule_identity():
    made = rows(FIELD, OBJECTS, TABLE, OUTLINES, annotations={"Plate": "other"})
    assert set(made.column("Metadata_Plate").to_pylist()) == {"P1"}
    assert set(made.column("Metadata_Plate_annotated").to_pylist()) == {"other"}


def test_annotations_default_to_the_fields_own():
    told = Field(FIELD.id, annotation={"gene": "COPB"})
    assert rows(told, OBJECTS, TABLE).column("Metadata_gene").to_pylist() == ["COPB", "COPB"]


def test_outlines_of_large_images_do_not_wrap():
    far = [np.array([(40_000, 70_000)]), np.array([(1, 2)])]
    made = rows(FIELD, OBJECTS, TABLE, far, annotations={})
    assert made.column("Nuclei_Outline_X").to_pylist() == [[70_000], [2]]


@pytest.mark.parametrize(
    ("table", "outlines"),
    [
        (TABLE.slice(0, 1), OUTLINES),
        (TABLE.take([1, 0]), OUTLINES),
        (TABLE.drop_columns(["ObjectNumber"]), OUTLINES),
        (TABLE, OUTLINES[:1]),
        (TABLE.append_column("CellId", [["a", "b"]]), OUTLINES),
    ],
    ids=["too few rows", "another order", "no numbers", "too few outlines", "a clash"],
)
def test_measurements_of_other_objects_are_refused(table, outlines):
    with pytest.raises(WrongShapeError):
        rows(FIELD, OBJECTS, table, outlines, annotations={})
