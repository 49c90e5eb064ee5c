"""Tables of made-up cells."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from phenostream.values import Column, with_columns

FEATURES = {
    "Nuclei_AreaShape_Area": Column("Nuclei_AreaShape_Area", "feature", "Nuclei", "AreaShape", unit="px^2"),
    "Nuclei_AreaShape_Center_X": Column(
        "Nuclei_AreaShape_Center_X", "feature", "Nuclei", "AreaShape", unit="px", positional=True
    ),
    "Nuclei_Intensity_MeanIntensity_DNA": Column(
        "Nuclei_Intensity_MeanIntensity_DNA", "feature", "Nuclei", "Intensity", "DNA"
    ),
    "Nuclei_Texture_Entropy_DNA": Column("Nuclei_Texture_Entropy_DNA", "feature", "Nuclei", "Texture", "DNA"),
}


def cells_of(rows=240, seed=0, plates=3, kind=np.float64):
    """`rows` cells on plates of four wells, half of them controls; every plate shifted and stretched."""
    rng = np.random.default_rng(seed)
    plate = np.arange(rows) * plates // rows
    well = np.arange(rows) % 4
    table = {
        "CellId": [f"{row:032x}" for row in range(rows)],
        "Metadata_Plate": [f"P{one}" for one in plate],
        "Metadata_Well": [("A1", "A2", "B1", "B2")[one] for one in well],
        "Metadata_Control": ["negative" if one < 2 else "compound" for one in well],
        "Metadata_Dose": well.astype(float),
    }
    for place, name in enumerate(FEATURES):
        table[name] = (rng.normal(size=rows) * (1 + plate) + 10 * plate + place).astype(kind)
    return with_columns(pa.table(table), [*(Column(name, "metadata") for name in list(table)[:5]), *FEATURES.values()])


@pytest.fixture
def cells():
    """`cells_of`: a table of made-up cells."""
    return cells_of


@pytest.fixture
def names():
    """The features that are no places."""
    return [name for name, column in FEATURES.items() if not column.positional]


@pytest.fixture
def replaced():
    """Give a table with some columns replaced by plain arrays, descriptions kept."""

    def replace(table, **columns):
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            field = table.schema.field(place)
            array = pa.array(values)
            table = table.set_column(place, field.with_type(array.type), array)
        return table

    return replace


@pytest.fixture
def bytes_a_row(peak_memory, monkeypatch):
    """How many bytes each further row takes: work on tables of 10,000 and 30,000 rows, in pieces of 1,000."""
    monkeypatch.setattr("phenostream.profiles.tables.PIECE_ROWS", 1000)

    def measured(make, work):
        work(make(2000))
        few, many = (peak_memory(lambda made=made: work(made)) for made in map(make, (10_000, 30_000)))
        return (many - few) / 20_000

    return measured
