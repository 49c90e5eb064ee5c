"""Cells and cytoplasm of nuclei: the numbers stay, and what each pixel is of."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from centrosome.outline import outline
from scipy import ndimage

from phenostream import objects
from phenostream.errors import ChannelMissingError, RecipeError, WrongShapeError
from phenostream.values import Field, Objects


@pytest.fixture
def nuclei():
    labels = np.zeros((60, 80), np.int32)
    labels[10:22, 10:24], labels[30:40, 50:64], labels[0:6, 70:80] = 3, 8, 9
    return labels


@pytest.fixture
def found(nuclei):
    light = np.stack([nuclei > 0, ndimage.binary_dilation(nuclei > 0, iterations=6)]).astype(np.uint8) * 200
    field = Field.of(light, ("DNA", "Actin"))
    return field, Objects(field.id, nuclei, "Nuclei", "test")


def test_nothing_is_added_unasked(found, nuclei):
    field, objs = found
    assert list(objects.compartments(objs, field, None)) == ["Nuclei"]
    assert objects.compartments(objs, field, None)["Nuclei"] is nuclei


@pytest.mark.parametrize("told", [{"distance": 7}, {"method": "propagate", "channel": "Actin"}])
def test_every_pixel_of_a_cell_is_nucleus_or_cytoplasm(found, nuclei, told):
    field, objs = found
    parts = objects.compartments(objs, field, objects.CellSettings(**told))
    assert list(parts) == ["Nuclei", "Cells", "Cytoplasm"]
    cells, cytoplasm = parts["Cells"], parts["Cytoplasm"]
    assert np.array_equal(np.where(nuclei > 0, nuclei, cytoplasm), cells)
    assert np.array_equal(np.unique(cells), [0, 3, 8, 9])
    assert (cells > 0).sum() > 2 * (nuclei > 0).sum()
    if "distance" in told:
        assert np.array_equal(cells, objects.expand(nuclei, 7))
    else:
        assert np.array_equal(cells > 0, field.read()[1] > 0)


def test_the_rim_may_count_twice(found, nuclei):
    field, objs = found
    plain, rim = (
        objects.compartments(objs, field, objects.CellSettings(rim=rim))["Cytoplasm"] for rim in (False, True)
    )
    assert np.array_equal((rim > 0) & (nuclei > 0), outline(nuclei) > 0)
    assert np.array_equal(np.where(nuclei > 0, 0, rim), plain)


def test_a_threshold_counts_in_shares_of_the_type(nuclei):
    light = np.full(nuclei.shape, 100, np.uint8)
    light[:, 40:] = 150
    for image in (light, light.astype(np.uint16) * 257, light / 255):
        told = objects.CellSettings(method="propagate", threshold=0.5)
        assert np.array_equal(objects.cells(nuclei, image, told)[:, 40:] > 0, image[:, 40:] > 0)
        assert not objects.cells(nuclei, image, told)[25:, :39].any()


def test_a_flat_image_gives_no_cells_beyond_the_nuclei(nuclei):
    told = objects.CellSettings(method="propagate")
    assert np.array_equal(objects.cells(nuclei, np.full(nuclei.shape, 7, np.uint8), told), nuclei)


def test_a_recipe_without_cells_keeps_its_identity():
    plain, asked = (objects.settings({"model": "classical", **cells}) for cells in ({}, {"cells": {"distance": 3}}))
    assert "cells" not in plain.model_dump(mode="json")
    assert objects.settings(asked.model_dump(mode="json")) == asked
    # What the nuclei are, and so the id of every cell, does not depend on what is found round them.
    assert objects.build(plain).digest == objects.build(asked).digest


def test_given_cells_get_the_numbers_of_their_nuclei(nuclei):
    cells = np.zeros(nuclei.shape, np.int32)
    cells[8:26, 8:26] = 1  # round nucleus 3
    cells[8:26, 26:40] = 2  # without a nucleus
    cells[28:36, 48:70], cells[36:44, 48:70] = 5, 4  # both share nucleus 8: six rows and four
    found = objects.matched(cells, nuclei)
    assert found.dtype == np.int32
    assert np.array_equal(found, np.where(cells == 1, 3, np.where(cells == 5, 8, 0)))
    assert np.array_equal(objects.matched(nuclei, nuclei), nuclei)
    assert not objects.matched(np.zeros_like(cells), nuclei).any()
    huge = np.where(cells > 0, cells.astype(np.int64) + 2**31 - 9, 0)
    assert np.array_equal(objects.matched(huge, nuclei), found)
    with pytest.raises(WrongShapeError, match="one shape"):
        objects.matched(cells[1:], nuclei)


def test_given_cells_have_a_segmenter(nuclei):
    with pytest.raises(RecipeError, match="method: given"):
        objects.settings({"model": "classical", "cells": {"method": "given"}})
    with pytest.raises(RecipeError, match="method: given"):
        objects.settings({"model": "classical", "cells": {"segmenter": {"model": "classical"}}})
    told = {"model": "classical", "cells": {"method": "given", "segmenter": {"model": "classical", "diameter": 60}}}
    asked = objects.settings(told)
    assert objects.settings(asked.model_dump(mode="json")) == asked
    with pytest.raises(RecipeError, match="matched"):
        objects.cells(nuclei, nuclei, asked.cells)


def test_what_is_wrong_is_named(found):
    field, objs = found
    with pytest.raises(RecipeError, match=r"cells\.distance"):
        objects.settings({"model": "classical", "cells": {"distance": -1}})
    with pytest.raises(RecipeError, match="round nuclei"):
        objects.settings({"model": "classical", "compartment": "Cells", "cells": {}})
    with pytest.raises(ChannelMissingError):
        objects.compartments(objs, field, objects.CellSettings(channel="ER"))


@pytest.mark.parametrize(
    ("dna", "cell"), [("B7_01_1_3_DAPI_001", "B7_01_3_3_RFP_001"), ("D6_01_1_2_DAPI_001", "D6_01_3_2_RFP_001")]
)
def test_cytoplasm_masks_of_cellprofiler(data, dna, cell):
    folder = data / "fields" / "nf1" / "Plate_2_masks"
    nuclei, cells, theirs = (
        tifffile.imread(folder / name) > 0
        for name in (f"{dna}_MaskNuclei.tiff", f"{cell}_MaskCells.tiff", f"{cell}_MaskCytoplasm.tiff")
    )
    assert np.array_equal(objects.cytoplasm(cells.astype(np.int32), nuclei.astype(np.int32), rim=True) > 0, theirs)
