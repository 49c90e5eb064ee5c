"""Label images against skimage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.segmentation import expand_labels

from phenostream import objects
from phenostream.errors import WrongShapeError

images = hnp.arrays(
    np.int64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12), elements=st.integers(-1, 6)
)


@given(images)
def test_relabel_counts_in_raster_order(labels):
    found = objects.relabel(labels)
    assert found.dtype == np.int32
    numbers = [value for value in dict.fromkeys(found.ravel().tolist()) if value]
    assert numbers == list(range(1, len(numbers) + 1))
    pairs = {(a, b) for a, b in zip(np.maximum(labels, 0).ravel().tolist(), found.ravel().tolist(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@given(images)
def test_objects_at_the_edge_go(labels):
    edge = np.ones(labels.shape, bool)
    edge[1:-1, 1:-1] = False
    stay = (labels > 0) & ~np.isin(labels, labels[edge])
    assert np.array_equal(objects.remove_edge_objects(labels), objects.relabel(np.where(stay, labels, 0)))


def test_large_numbers():
    labels = np.array([[0, 2**31 - 1], [5, 2**31 - 1]])
    assert objects.relabel(labels).tolist() == [[0, 1], [2, 1]]
    assert objects.relabel(np.array([[2**32 - 1]], np.uint32)).tolist() == [[1]]


@pytest.mark.parametrize("distance", [0, 1, 2.5, 7])
def test_expand_grows_as_in_skimage(distance):
    labels = np.zeros((40, 50), np.int32)
    labels[3:9, 4:11], labels[12:30, 12:20], labels[20:25, 35:45] = 5, 2, 9
    grown = objects.expand(labels, distance)
    other = expand_labels(labels, distance)
    assert np.array_equal(grown > 0, other > 0)
    assert np.mean(grown == other) > 0.99  # ties are anybody's
    assert np.array_equal(grown[labels > 0], labels[labels > 0])


def test_nothing_grows_from_nothing():
    assert not objects.expand(np.zeros((5, 6), np.int32), 3).any()


def test_cytoplasm_is_the_cell_outside_all_nuclei():
    cells, nuclei = np.zeros((6, 8), np.int32), np.zeros((6, 8), np.int32)
    cells[1:5, 1:4], cells[1:5, 4:7], nuclei[2:4, 2:5] = 3, 4, 3
    rest = objects.cytoplasm(cells, nuclei)
    assert np.array_equal(rest, np.where(nuclei > 0, 0, cells))
    with pytest.raises(WrongShapeError, match=r"\(6, 8\).*\(2, 2\)"):
        objects.cytoplasm(cells, np.zeros((2, 2), np.int32))
