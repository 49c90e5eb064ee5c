"""Skeletons of shapes drawn by hand, whose branches can be counted by eye, and thinning as scikit-image does it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, rotate
from skimage.morphology import skeletonize

from phenostream import measure
from phenostream.features import MeasureSettings

NAMES = ("NumberTrunks", "NumberNonTrunkBranches", "NumberBranchEnds", "TotalObjectSkeletonLength")


def counts(lines, labels, **parameters):
    settings = MeasureSettings(families=("skeleton",), parameters={"skeleton": parameters})
    table = measure(np.asarray(lines, np.uint8), labels, settings=settings)
    return [tuple(row[f"Nuclei_ObjectSkeleton_{name}_DNA"] for name in NAMES) for row in table.to_pylist()]


def drawing(*strokes):
    """Lines of pixels from one point to another, straight or diagonal, round the seed at rows and columns 18 to 22."""
    lines = np.zeros((41, 41), np.uint8)
    for (y, x), (v, u) in strokes:
        count = max(abs(v - y), abs(u - x)) + 1
        lines[np.linspace(y, v, count).round().astype(int), np.linspace(x, u, count).round().astype(int)] = 255
    return lines


@pytest.fixture
def seed():
    labels = np.zeros((41, 41), np.int32)
    labels[18:23, 18:23] = 5
    return labels


@pytest.mark.parametrize(
    ("strokes", "expected"),
    [
        ([], (0, 0, 0, 0)),
        ([((20, 20), (20, 23))], (1, 0, 1, 0)),
        ([((20, 20), (20, 32))], (1, 0, 1, 9)),
        ([((20, 8), (20, 32))], (2, 0, 2, 9 + 9)),
        ([((22, 22), (32, 32))], (1, 0, 1, 9 * np.sqrt(2))),
        ([((20, 20), (20, 34)), ((20, 28), (10, 28))], (1, 1, 2, 11 + 10)),
        ([((20, 20), (20, 34)), ((10, 28), (30, 28))], (1, 2, 3, 11 + 20)),
        ([((20, 20), (20, 28)), ((20, 28), (13, 35)), ((20, 28), (27, 35))], (1, 1, 2, 5 + 14 * np.sqrt(2))),
        ([((2, 2), (2, 30))], (0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("turns", range(4))
def test_drawn_shapes(seed, strokes, expected, turns):
    found = counts(np.rot90(drawing(*strokes), turns), np.rot90(seed, turns))
    assert found == [pytest.approx(expected)]


def test_a_ring_has_no_end(seed):
    loop = ((20, 23), (20, 28)), ((20, 28), (10, 28)), ((10, 28), (10, 36)), ((10, 36), (20, 36)), ((20, 36), (20, 28))
    trunks, branches, ends, _ = counts(drawing(*loop), seed)[0]
    assert (trunks, branches, ends) == (1, 1, 0)


def test_a_line_between_two_objects_is_shared(seed):
    seed[18:23, 33:38] = 2
    found = counts(drawing(((20, 20), (20, 35))), seed)
    assert [row[:3] for row in found] == [(1, 0, 0), (1, 0, 0)]
    assert [row[3] for row in found] == [4, 4]


def test_thick_lines_are_thinned(seed):
    thin = drawing(((20, 20), (20, 36)), ((20, 29), (6, 29)))
    thick = binary_dilation(thin, np.ones((3, 3)))
    skeleton = skeletonize(thick)
    assert counts(thick, seed) == counts(skeleton, seed)
    assert counts(thick, seed)[0][:3] == (1, 1, 2)


def test_threshold_is_of_the_scaled_intensity(seed):
    lines = drawing(((20, 20), (20, 32)))
    lines[lines == 0] = 40
    assert counts(lines, seed, threshold=0.5)[0] == (1, 0, 1, 9)


@pytest.mark.parametrize("angle", range(0, 90, 9))
def test_trees_have_an_end_a_trunk_and_a_branch(seed, angle):
    tree = drawing(((20, 3), (20, 37)), ((20, 30), (9, 30)), ((20, 9), (31, 9)), ((9, 30), (9, 36)))
    lines = rotate(binary_dilation(tree, np.ones((3, 3))).astype(np.uint8) * 255, angle, reshape=False, order=1) > 127
    trunks, branches, ends, length = counts(lines, seed)[0]
    assert ends == trunks + branches
    assert trunks == 2
    assert length > 30
