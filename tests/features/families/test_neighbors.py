"""Neighbours once all objects have grown until they touch: counted by distances, closest ones by centroids."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist

import phenostream
from phenostream.features import MeasureSettings


def test_the_closest_of_grown_objects_are_those_of_the_objects_as_they_are() -> None:
    labels = np.zeros((90, 120), np.int32)
    for number, (y, x) in enumerate([(12, 10), (20, 50), (70, 30), (60, 100), (15, 105)], 1):
        labels[y - 4 : y + 4, x - 6 : x + 5] = number
    settings = MeasureSettings(families=("neighbors",), parameters={"neighbors": {"method": "expand"}})
    found = phenostream.measure(np.zeros(labels.shape, np.uint8), labels, settings=settings)
    centres = ndimage.center_of_mass(labels > 0, labels, range(1, 6))
    apart = cdist(centres, centres) + np.diag(np.full(5, np.inf))
    order = np.argsort(apart, axis=1)
    for place, word in enumerate(("FirstClosest", "SecondClosest")):
        assert found[f"Nuclei_Neighbors_{word}ObjectNumber_Expanded"].to_pylist() == list(order[:, place] + 1)
        distance = found[f"Nuclei_Neighbors_{word}Distance_Expanded"].to_numpy()
        np.testing.assert_allclose(distance, np.take_along_axis(apart, order, 1)[:, place], rtol=1e-6)


def test_grown_objects_touch_those_whose_ground_borders_on_theirs() -> None:
    labels = np.zeros((9, 31), np.int32)
    labels[4, 2], labels[4, 15], labels[4, 28] = 1, 2, 3
    settings = MeasureSettings(families=("neighbors",), parameters={"neighbors": {"method": "expand"}})
    found = phenostream.measure(np.zeros(labels.shape, np.uint8), labels, settings=settings)
    assert found["Nuclei_Neighbors_NumberOfNeighbors_Expanded"].to_pylist() == [1, 2, 1]
