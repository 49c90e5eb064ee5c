"""Centroids and boxes against skimage's region properties."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import regionprops

from phenostream import objects

images = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14), elements=st.integers(0, 9)
)


@given(images)
def test_as_in_skimage(labels):
    regions = regionprops(labels)
    assert np.allclose(objects.centroids(labels), np.array([region.centroid for region in regions]).reshape(-1, 2))
    assert np.array_equal(objects.boxes(labels), np.array([region.bbox for region in regions]).reshape(-1, 4))
    height, width = labels.shape
    edge = [box[0] == 0 or box[1] == 0 or box[2] == height or box[3] == width for box in (r.bbox for r in regions)]
    assert objects.touching_edge(labels).tolist() == edge


def test_nothing():
    empty = np.zeros((4, 5), np.int32)
    assert objects.centroids(empty).shape == (0, 2)
    assert objects.boxes(empty).shape == (0, 4)
    assert objects.touching_edge(empty).shape == (0,)
