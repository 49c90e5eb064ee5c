"""The one call: columns, roles, order of rows, and every way the input can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from phenostream import measure
from phenostream.errors import (
    ChannelMissingError,
    EmptyError,
    NotFiniteError,
    NotFoundError,
    RecipeError,
    TooLargeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.features import MITOCHECK_157, MeasureSettings, select
from phenostream.features.registry import names
from phenostream.testing.measures import awkward_field
from phenostream.values import columns_of


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(3)
    labels = np.zeros((60, 80), np.uint16)
    labels[5:20, 5:22] = 3
    labels[5:20, 22:40] = 8
    labels[30:50, 40:60] = 700
    image = (rng.random((60, 80)) * 200 + 20).astype(np.uint8)
    return image, labels


def test_157_published_columns(field):
    table = measure(*field)
    assert table.num_rows == 3
    assert table["ObjectNumber"].to_pylist() == [3, 8, 700]
    assert table.num_columns == 158
    assert len(MITOCHECK_157) == 157
    published = select(table, prefix="CP__")
    assert published.column_names[0] == "CP__AreaShape_Area"
    assert published.column_names == sorted(published.column_names)


def test_roles_and_positions(field):
    columns = columns_of(measure(*field).schema)
    assert [c.name for c in columns if c.role != "feature"] == ["ObjectNumber"]
    assert {c.compartment for c in columns[1:]} == {"Nuclei"}
    positional = [c.name.removeprefix("Nuclei_") for c in columns if c.positional]
    assert sorted(positional) == [
        "AreaShape_BoundingBoxMaximum_X",
        "AreaShape_BoundingBoxMaximum_Y",
        "AreaShape_BoundingBoxMinimum_X",
        "AreaShape_BoundingBoxMinimum_Y",
        "AreaShape_Center_X",
        "AreaShape_Center_Y",
        "AreaShape_Orientation",
        "Neighbors_FirstClosestObjectNumber_Adjacent",
        "Neighbors_SecondClosestObjectNumber_Adjacent",
    ]
    assert {c.channel for c in columns if c.family == "Texture"} == {"DNA"}


def test_no_objects_keep_the_whole_schema(field):
    image, labels = field
    assert measure(image, np.zeros_like(labels)).schema.names == measure(image, labels).schema.names
    assert measure(image, np.zeros_like(labels)).num_rows == 0


def test_several_channels(field):
    image, labels = field
    table = measure(np.stack([image, 255 - image]), labels, families=["intensity"])
    assert "Nuclei_Intensity_MeanIntensity_Ch2" in table.column_names
    named = measure(np.stack([image, image]), labels, ["DNA", "Actin"], ["intensity"], compartment="Cells")
    assert "Cells_Intensity_MeanIntensity_Actin" in named.column_names


def test_integers_are_scaled_by_their_type(field):
    image, labels = field
    mean = "Nuclei_Intensity_MeanIntensity_DNA"
    eight = measure(image, labels, families=["intensity"])[mean].to_numpy()
    sixteen = measure(image.astype(np.uint16) * 257, labels, families=["intensity"])[mean].to_numpy()
    floats = measure(image / 255, labels, families=["intensity"])[mean].to_numpy()
    assert np.allclose(eight, sixteen, rtol=1e-14)
    assert np.allclose(eight, floats, rtol=1e-7)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(field, threads):
    image, labels = awkward_field(5, least=200, most=260)
    tiles = np.add.outer(np.arange(labels.shape[0]) // 9 * 40, np.arange(labels.shape[1]) // 11) + 1
    channels = np.stack([image, np.roll(image, 3, axis=1)])
    everything = MeasureSettings(families=names(), parameters={"intensity": {"location": True}})
    for pixels, objects in ((image, labels), (channels, tiles), field, (image, np.zeros_like(labels))):
        alone, together = (
            measure(pixels, objects, settings=everything, threads=count).combine_chunks() for count in (1, threads)
        )
        assert alone.schema.equals(together.schema, check_metadata=True)
        assert all(a.to_numpy().tobytes() == b.to_numpy().tobytes() for a, b in zip(alone, together, strict=True))


def test_touching_nothing_of_the_input(field):
    image, labels = (part.copy() for part in field)
    measure(image, labels)
    assert (image == field[0]).all()
    assert (labels == field[1]).all()


def test_undefined_values_are_counted(field):
    image, labels = field
    labels = labels.copy()
    labels[58, 70] = 900
    table = measure(image, labels)
    assert json.loads(table.schema.metadata[b"phenostream.undefined"])["texture"] == 1
    assert np.isnan(table["Nuclei_Texture_Contrast_DNA_3_00_256"].to_numpy()[-1])


def test_compartments_stand_side_by_side(field):
    image, labels = field
    cells = np.where(labels == 3, 0, labels)
    cells[50:58, 60:70], cells[0, 0] = 700, 41
    kinds = {"Nuclei": labels, "Cells": cells}
    table = measure(image, kinds, families=["intensity", "texture"])
    assert table["ObjectNumber"].to_pylist() == [3, 8, 700]
    for name, own in kinds.items():
        alone = measure(image, own, families=["intensity", "texture"], compartment=name)
        places = [alone["ObjectNumber"].to_pylist().index(n) for n in (8, 700)]
        for column in alone.column_names[1:]:
            assert table[column].to_pylist()[1:] == [alone[column].to_pylist()[i] for i in places]
        assert columns_of(table.select(alone.column_names).schema) == columns_of(alone.schema)
    assert np.isnan(table["Cells_Intensity_MeanIntensity_DNA"].to_numpy()[0])
    assert np.isfinite(table["Nuclei_Intensity_MeanIntensity_DNA"].to_numpy()[0])
    assert table.num_columns == 1 + 2 * (15 + 52)
    # Cells lack object 3, and have one of a single pixel whose texture is undefined.
    assert json.loads(table.schema.metadata[b"phenostream.undefined"]) == {"Cells": 1, "Cells_texture": 1}
    with pytest.raises(EmptyError, match="no compartment"):
        measure(image, {})
    with pytest.raises(WrongShapeError):
        measure(image, {"Nuclei": labels, "Cells": cells[1:]})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda i, _: (i[:-1], _), WrongShapeError),
        (lambda i, o: (i, o.astype(np.int32) - 1), WrongShapeError),
        (lambda i, o: (i, o[0]), WrongShapeError),
        (lambda i, o: (i, o / 2), WrongDtypeError),
        (lambda i, o: (i.astype(np.int32), o), WrongDtypeError),
        (lambda i, o: (np.where(i > 30, i, np.nan), o), NotFiniteError),
        (lambda i, o: (i, o.astype(np.int64) << 31), TooLargeError),
        (lambda i, o: (i[:0], o[:0]), EmptyError),
    ],
)
def test_bad_arrays(field, change, error):
    with pytest.raises(error):
        measure(*change(*field))


def test_bad_names(field):
    image, labels = field
    with pytest.raises(ChannelMissingError, match="2 channel names for 1"):
        measure(image, labels, ["A", "B"])
    with pytest.raises(ChannelMissingError, match="share a name"):
        measure(np.stack([image, image]), labels, ["A", "A"])
    with pytest.raises(RecipeError, match="no feature family 'colour'"):
        measure(image, labels, families=["colour"])
    with pytest.raises(NotFoundError, match="157"):
        select(measure(image, labels, families=["feret"]))


def test_settings_are_checked():
    with pytest.raises(RecipeError, match=r"texture\.grey_levels"):
        MeasureSettings(parameters={"texture": {"grey_levels": 1000}}).plan()
    with pytest.raises(RecipeError, match="not chosen"):
        MeasureSettings(families=("feret",), parameters={"texture": {}}).plan()
    assert MeasureSettings().versions()["texture"] >= 1
