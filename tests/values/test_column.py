"""Columns say what they are, in few bytes, and survive Parquet."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from phenostream.values import Column, columns_of, with_columns

DESCRIBED = [
    Column("CellId", role="metadata"),
    Column("Nuclei_AreaShape_Area", compartment="Nuclei", family="AreaShape", unit="px^2"),
    Column("Nuclei_AreaShape_Center_X", compartment="Nuclei", family="AreaShape", unit="px", positional=True),
    Column("n_objects", role="qc"),
]


def test_descriptions_survive_parquet() -> None:
    table = with_columns(pa.table({column.name: [1.0] for column in DESCRIBED}), DESCRIBED)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert list(columns_of(pq.read_table(io.BytesIO(sink.getvalue())).schema)) == DESCRIBED


def test_a_column_that_does_not_say_is_metadata() -> None:
    assert list(columns_of(pa.schema([("x", pa.int64())]))) == [Column("x", role="metadata")]


def test_only_what_differs_from_a_plain_feature_is_written() -> None:
    table = with_columns(pa.table({"a": [1.0]}), [Column("a")])
    assert table.schema.field("a").metadata == {b"phenostream": b"{}"}
