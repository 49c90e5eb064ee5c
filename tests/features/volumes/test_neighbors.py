"""Neighbours in volumes against SciPy, object by object, and against cp_measure where that counts all three axes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cp_measure.multimask.measureobjectneighbors import measureobjectneighbors
from scipy import ndimage
from scipy.spatial import KDTree

from phenostream.features import MeasureSettings, measure

METHODS = [("adjacent", 1), ("within", 1), ("within", 2), ("within", 4), ("within", 7), ("expand", 1)]
THEIRS = {"adjacent": "Adjacent", "within": "Within a specified distance", "expand": "Expand until adjacent"}


def volume(seed, shape=(16, 34, 38)):
    """Touching, concave, border, scattered and single-voxel objects."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (1.5, 2.5, 2.5))
    labels = ndimage.label(blobs > np.quantile(blobs, 0.85))[0]
    for axis, side in enumerate(shape):
        far = (labels > 0) & (np.indices(shape)[axis] >= side // 2)
        labels[far] += labels.max()
    labels[0, 0, 0], labels[shape[0] // 2, 1, 2] = labels.max() + 1, labels.max() + 2
    return np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.int32)


def neighbors(labels, method="adjacent", distance=1, **more):
    parameters = {"method": method, "distance": distance}
    settings = MeasureSettings(families=("neighbors",), parameters={"neighbors": parameters})
    table = measure(np.zeros(labels.shape, np.uint8), labels, settings=settings, **more)
    return {name.split("_")[2]: table[name].to_numpy() for name in table.column_names[1:]}


def touching(labels, reach):
    """Neighbours within `reach` and percent of the outline within half a voxel more, by distance transforms."""
    outline = np.zeros(labels.shape, bool)
    padded = np.pad(labels, 1, constant_values=-1)
    for steps in np.ndindex(3, 3, 3):
        outline |= padded[tuple(slice(s, s + n) for s, n in zip(steps, labels.shape, strict=True))] != labels
    counts, percents = [], []
    for number in range(1, labels.max() + 1):
        own, others = labels == number, (labels > 0) & (labels != number)
        near = ndimage.distance_transform_edt(~own) <= reach
        counts.append(np.unique(labels[near & others]).size)
        rim = outline & own
        percents.append(100 * (ndimage.distance_transform_edt(~others)[rim] <= reach + 0.5).mean())
    return np.array(counts), np.array(percents)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("method", "distance"), METHODS)
def test_who_touches(seed, method, distance):
    labels = volume(seed)
    found = neighbors(labels, method, distance)
    grown = labels
    if method == "expand":
        grown = labels[tuple(ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True))]
    counts, percents = touching(grown, distance)
    np.testing.assert_array_equal(found["NumberOfNeighbors"], counts)
    np.testing.assert_allclose(found["PercentTouching"], percents, rtol=1e-12)
    assert counts.max() > 1
    assert 0 < percents.mean() <= 100


@pytest.mark.parametrize(("method", "distance"), METHODS)
def test_same_numbers_of_neighbors_as_cellprofiler(method, distance):
    labels = volume(2)
    with warnings.catch_warnings(action="ignore"):
        witness = measureobjectneighbors(labels, labels, THEIRS[method], distance)
    (counts,) = (values for name, values in witness.items() if "NumberOfNeighbors" in name)
    if method == "expand":  # it looks for expanded objects among those that are not
        assert (neighbors(labels, method)["NumberOfNeighbors"] >= counts).all()
    else:
        np.testing.assert_array_equal(neighbors(labels, method, distance)["NumberOfNeighbors"], counts)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("method", ["adjacent", "expand"])
def test_who_is_closest(seed, method):
    labels = volume(seed)
    found = neighbors(labels, method)
    index = np.arange(1, labels.max() + 1)
    centres = np.array(ndimage.center_of_mass(np.ones(labels.shape), labels, index))
    apart, order = KDTree(centres).query(centres, k=3)
    np.testing.assert_array_equal(found["FirstClosestObjectNumber"], order[:, 1] + 1)
    np.testing.assert_array_equal(found["SecondClosestObjectNumber"], order[:, 2] + 1)
    np.testing.assert_allclose(found["FirstClosestDistance"], apart[:, 1], rtol=1e-12)
    np.testing.assert_allclose(found["SecondClosestDistance"], apart[:, 2], rtol=1e-12)
    one, other = (centres[order[:, k]] - centres for k in (1, 2))
    sine, cosine = np.linalg.norm(np.cross(one, other), axis=1), (one * other).sum(axis=1)
    np.testing.assert_allclose(found["AngleBetweenNeighbors"], np.rad2deg(np.arctan2(sine, cosine)), atol=1e-5)


def test_distances_of_cellprofiler_where_no_object_differs_in_x():
    labels = np.zeros((20, 40, 5), np.int32)
    for number, (z, y) in enumerate([(1, 2), (3, 12), (14, 5), (9, 30), (17, 36), (2, 24)], 1):
        labels[z : z + 3, y : y + 2 + number % 3, 1:4] = number
    witness = measureobjectneighbors(labels, labels, "Adjacent")
    for name, values in neighbors(labels).items():
        if name in ("FirstClosestDistance", "SecondClosestDistance", "AngleBetweenNeighbors"):
            np.testing.assert_allclose(values, witness[f"Neighbors_{name}_Adjacent"], rtol=1e-9, err_msg=name)


def test_distances_count_all_axes():
    labels = np.zeros((6, 8, 20), np.int32)
    labels[1, 1, 1], labels[3, 3, 2], labels[1, 1, 15] = 4, 6, 9
    found = neighbors(labels)
    assert found["FirstClosestObjectNumber"].tolist() == [6, 4, 6]
    np.testing.assert_allclose(found["FirstClosestDistance"], [3, 3, np.sqrt(8 + 13**2)])
    np.testing.assert_allclose(found["SecondClosestDistance"], [14, np.sqrt(8 + 13**2), 14])
    assert found["NumberOfNeighbors"].tolist() == [0, 0, 0]


def test_among_equals_the_lower_number_comes_first():
    labels = np.zeros((9, 9, 9), np.int32)
    ends = [(0, 4, 4), (4, 0, 4), (4, 4, 0), (4, 4, 8), (4, 8, 4), (8, 4, 4)]
    for number, place in enumerate(ends, 1):
        labels[place] = number
    labels[4, 4, 4] = 7
    found = neighbors(labels)
    assert (found["FirstClosestObjectNumber"][6], found["SecondClosestObjectNumber"][6]) == (1, 2)
    assert found["AngleBetweenNeighbors"][6] == pytest.approx(90)


def test_few_objects():
    labels = np.zeros((4, 4, 6), np.int32)
    labels[:, :, 1] = 5
    assert all(values.tolist() == [0] for values in neighbors(labels).values())
    labels[:, :, 2:4] = 8
    found = neighbors(labels)
    assert found["NumberOfNeighbors"].tolist() == [1, 1]
    assert found["PercentTouching"].tolist() == [100, pytest.approx(50)]
    assert found["FirstClosestObjectNumber"].tolist() == [8, 5]
    assert found["FirstClosestDistance"].tolist() == [1.5, 1.5]
    assert found["SecondClosestObjectNumber"].tolist() == [0, 0]


def test_the_same_for_any_number_of_threads_and_in_any_numbering():
    labels = volume(3)
    once, again = neighbors(labels, "within", 3), neighbors(labels * 7, "within", 3, threads=3)
    for name, values in once.items():
        np.testing.assert_array_equal(again[name], values * (7 if name.endswith("Number") else 1), err_msg=name)
