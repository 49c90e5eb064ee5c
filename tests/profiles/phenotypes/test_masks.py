"""What is the cell in a crop: on pictures drawn by hand."""

from __future__ import annotations

import numpy as np
from skimage.draw import disk

from phenostream.profiles.phenotypes.masks import crop_masks


def drawn(*discs: tuple[int, int, int]) -> np.ndarray:
    picture = np.full((64, 64), 10, np.uint8)
    for row, column, radius in discs:
        picture[disk((row, column), radius, shape=picture.shape)] = 150
    return picture


def test_the_object_at_the_centre_is_the_cell() -> None:
    found = crop_masks(drawn((32, 32, 10), (5, 5, 6)))
    assert found.central[32, 32]
    assert not found.central[5, 5]
    np.testing.assert_array_equal(found.central, found.group)
    assert found.pieces.max() == 2
    assert abs(found.central.sum() - np.pi * 100) < 40


def test_fragments_close_by_belong_to_it() -> None:
    found = crop_masks(drawn((32, 27, 5), (32, 40, 5), (60, 60, 3)))
    assert found.group[32, 40]
    assert found.group[32, 27]
    assert not found.group[60, 60]
    assert found.central.sum() < found.group.sum()


def test_where_the_centre_is_empty_the_nearest_is_taken() -> None:
    assert crop_masks(drawn((20, 20, 5), (60, 60, 4))).central[20, 20]


def test_a_flat_crop_gives_a_disc() -> None:
    found = crop_masks(np.full((64, 64), 7, np.uint8))
    assert found.central.sum() == found.group.sum()
    assert 280 < found.central.sum() < 340


def test_a_ring_is_filled() -> None:
    picture = drawn((32, 32, 12))
    picture[disk((32, 32), 5)] = 10
    assert crop_masks(picture).central[32, 32]
