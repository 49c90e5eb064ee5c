"""From crops to a table: columns that say what they are, the same for one crop as for many."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import disk, ellipse

from phenostream.errors import RecipeError, WrongShapeError
from phenostream.features import measure
from phenostream.profiles.phenotypes import DescribeSettings, describe
from phenostream.profiles.phenotypes.masks import crop_masks
from phenostream.values import columns_of

QUICK = DescribeSettings(families=("size_shape", "intensity"), surroundings=("intensity",))


def crops() -> np.ndarray:
    rng = np.random.default_rng(0)
    made = np.zeros((3, 64, 64))
    made[0][disk((32, 32), 12)] = 100
    made[1][ellipse(32, 32, 20, 7)] = 80
    for column in (22, 34, 46):
        made[2][disk((32, column), 5)] = 150
    return np.clip(made + rng.normal(10, 2, made.shape), 0, 255).astype(np.uint8)


def test_columns_say_what_they_are() -> None:
    table = describe(crops(), QUICK)
    told = {column.name: column for column in columns_of(table.schema)}
    assert {column.role for column in told.values()} == {"feature"}
    assert told["Nuclei_AreaShape_Area"].unit == "px^2"
    assert told["Group_Intensity_MeanIntensity_DNA"].channel == "DNA"
    assert told["Nuclei_AreaShape_Center_X"].positional
    assert {"Crop_Intensity_MeanIntensity_DNA", "Pieces_Count", "Scattering_Order1_Mean_0_w6"} <= set(told)


def test_the_numbers_are_those_of_measure_on_the_mask() -> None:
    table, mask = describe(crops(), QUICK), crop_masks(crops()[1])
    expected = measure(crops()[1], mask.central, families=("size_shape",))["Nuclei_AreaShape_Area"][0].as_py()
    assert table["Nuclei_AreaShape_Area"][1].as_py() == expected
    assert table["Group_AreaShape_Area"][2].as_py() > 2 * table["Nuclei_AreaShape_Area"][2].as_py()
    assert table["Pieces_CountInGroup"].to_pylist() == [1, 1, 3]


def test_no_crop_sees_another() -> None:
    together = describe(crops(), QUICK)
    for place in range(3):
        alone = describe(crops()[place : place + 1], QUICK)
        for name in together.column_names:
            np.testing.assert_allclose(alone[name][0].as_py(), together[name][place].as_py(), rtol=1e-6)


def test_an_embedding_joins_in(tmp_path) -> None:
    del tmp_path
    pytest.importorskip("onnxruntime")
    settings = DescribeSettings(families=(), surroundings=(), pieces=False, scattering=False, embedding="cellnet")
    table = describe(crops(), settings)
    assert table.num_columns > 100
    assert {column.family for column in columns_of(table.schema)} == {"embedding"}


def test_flat_and_wrong_crops() -> None:
    flat = describe(np.full((1, 64, 64), 5, np.uint8), QUICK)
    assert flat.num_rows == 1
    with pytest.raises(WrongShapeError):
        describe(np.zeros((64, 64), np.uint8), QUICK)
    with pytest.raises(RecipeError, match="no feature family"):
        describe(crops(), DescribeSettings(families=("nonsense",)))
