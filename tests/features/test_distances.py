"""Distances of wide objects, which take another way than narrow ones, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from phenostream.features.scene import Scene


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(2)
    rows, cols = np.mgrid[:320, :420]
    labels = np.zeros((320, 420), np.int32)
    labels[((rows - 150) / 140) ** 2 + ((cols - 120) / 118) ** 2 < 1] = 1
    labels[(cols > 250) & (rng.random(labels.shape) > 0.0002)] = 2
    return Scene(np.zeros(labels.shape, np.uint8), labels)


def distances(mask):
    return np.rint(distance_transform_edt(mask) ** 2)[mask]


def test_to_the_outside(scene):
    for number in (1, 2):
        own = scene.thickness[scene.offsets[number - 1] : scene.offsets[number]]
        inside = np.pad(scene.labels == number, 1)
        assert np.array_equal(own, distances(inside))


def test_the_image_border_is_no_edge(scene):
    for number in (1, 2):
        own = scene.depth[scene.offsets[number - 1] : scene.offsets[number]]
        assert np.array_equal(own, distances(scene.labels == number))


def test_an_object_that_fills_the_image():
    scene = Scene(np.zeros((30, 50), np.uint8), np.ones((30, 50), np.int32))
    assert (scene.depth >= 2**40).all()
    assert scene.thickness.max() == 15**2
