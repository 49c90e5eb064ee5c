"""Target maps against their definition, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from phenostream.testing.segmenters import nuclei
from phenostream.training.segmentation.targets import CONTACT, targets


def test_depth_is_one_once_and_low_at_the_border():
    labels = nuclei(1, shape=(96, 96), count=8, diameter=18).labels
    foreground, depth, _ = targets(labels, 18)
    assert np.array_equal(foreground, labels > 0)
    assert np.array_equal(depth > 0, labels > 0)
    peaks = ndimage.maximum(depth, labels, np.arange(1, labels.max() + 1))
    assert np.allclose(peaks, 1)
    rim = (labels > 0) & ~ndimage.binary_erosion(labels > 0, border_value=1)
    assert depth[rim].max() < 0.35


def test_touching_objects_have_depths_of_their_own():
    labels = np.zeros((20, 40), np.int32)
    labels[4:16, 4:20], labels[4:16, 20:36] = 1, 2
    depth = targets(labels, 14)[1]
    assert depth[10, 19] == depth[10, 20] < 0.2
    assert depth[10, 10] == depth[10, 29] == 1


def test_the_image_border_is_no_object_border():
    labels = np.zeros((20, 20), np.int32)
    labels[:10, 5:15] = 1
    assert targets(labels, 10)[1][0, 10] == 1


def test_contact_is_what_its_formula_says():
    labels = nuclei(5, shape=(60, 70), count=14, diameter=14).labels
    assert labels.max() > 4
    contact = targets(labels, 14)[2]
    places = np.argwhere(np.ones(labels.shape, bool))
    away = []
    for label in range(1, labels.max() + 1):
        far = cKDTree(np.argwhere(labels == label)).query(places)[0] - 0.5
        away.append(np.where((labels == label).ravel(), 0, far))
    one, two = np.sort(away, axis=0)[:2]
    wanted = np.exp(-(((one + two) / (CONTACT * 14)) ** 2)).reshape(labels.shape)
    assert np.abs(contact - wanted).max() < math.exp(-9) + 1e-6


def test_nothing_and_everything():
    assert not targets(np.zeros((5, 6), np.int32), 10).any()
    everything = targets(np.ones((5, 6), np.int32), 10)
    assert (everything[:2] == 1).all()
    assert not everything[2].any()


def test_numbers_may_have_gaps():
    labels = np.zeros((12, 12), np.int32)
    labels[2:8, 2:8] = 7
    assert np.array_equal(targets(labels, 6), targets(labels // 7, 6))
