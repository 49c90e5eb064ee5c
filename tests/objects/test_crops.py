"""Crops against slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenostream import objects
from phenostream.errors import WrongShapeError

IMAGE = np.random.default_rng(0).integers(1, 65535, (2, 37, 53)).astype(np.uint16)


@given(st.lists(st.tuples(st.floats(0, 36), st.floats(0, 52)), max_size=8), st.integers(1, 70))
def test_every_crop_is_the_slice_of_the_padded_image(centers, size):
    padded = np.pad(IMAGE, ((0, 0), (size, size), (size, size)))
    found = objects.crops(IMAGE, np.array(centers).reshape(-1, 2), size)
    assert found.shape == (len(centers), 2, size, size)
    assert found.dtype == np.uint16
    for crop, center in zip(found, centers, strict=True):
        y, x = (round(value) - size // 2 + size for value in center)
        assert np.array_equal(crop, padded[:, y : y + size, x : x + size])


def test_one_channel():
    assert objects.crops(IMAGE[0], [(5, 6)], 8).shape == (1, 8, 8)
    assert objects.crops(IMAGE[0], np.zeros((0, 2)), 8).shape == (0, 8, 8)


def test_other_objects_are_left_out():
    labels = np.zeros(IMAGE.shape[1:], np.int32)
    labels[4:10, 4:10], labels[4:10, 10:16] = 1, 2
    one, two = objects.crops(IMAGE, objects.centroids(labels), 12, labels=labels, numbers=[1, 2])
    assert ((one > 0).sum(axis=(1, 2)) == 36).all()
    assert ((two > 0).sum(axis=(1, 2)) == 36).all()


def test_a_crop_does_not_share_memory():
    before = IMAGE.copy()
    objects.crops(IMAGE, [(5, 6)], 8)[:] = 0
    assert np.array_equal(before, IMAGE)


@pytest.mark.parametrize(
    ("image", "centers", "size"),
    [(IMAGE, [(40, 5)], 8), (IMAGE, [(-3, 5)], 8), (IMAGE, [(3, 5)], 0), (IMAGE[0, 0], [(1, 1)], 3)],
)
def test_what_does_not_fit_is_refused(image, centers, size):
    with pytest.raises(WrongShapeError):
        objects.crops(image, centers, size)


def test_numbers_must_fit():
    with pytest.raises(WrongShapeError, match="fit"):
        objects.crops(IMAGE, [(3, 5)], 4, labels=np.zeros(IMAGE.shape[1:], int), numbers=[1, 2])
