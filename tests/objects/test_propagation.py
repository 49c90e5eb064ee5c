"""Propagation and the filling of holes, against centrosome, with which CellProfiler does both."""

from __future__ import annotations

import numpy as np
import pytest
from centrosome.cpmorphology import fill_labeled_holes
from centrosome.propagate import propagate as witness
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from phenostream.errors import WrongShapeError
from phenostream.objects.propagation import fill_holes, propagate

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, weight=st.sampled_from([0.0, 0.05, 1.0, 10.0]))
def test_as_in_centrosome(seed, weight):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 50, 2))
    image = rng.random(shape)
    labels = np.where(rng.random(shape) < 0.03, rng.integers(1, 9, shape), 0).astype(np.int32)
    inside = rng.random(shape) < rng.uniform(0.3, 1.1)
    found = propagate(image, labels, inside, regularization=weight)
    assert found.dtype == np.int32
    assert np.array_equal(found, witness(image, labels, inside, weight)[0])


def test_light_parts_cells_where_distance_would_not():
    image = np.zeros((9, 30))
    image[:, 20:] = 1
    labels = np.zeros(image.shape, np.int32)
    labels[4, 2], labels[4, 27] = 1, 2
    grown = propagate(image, labels, np.ones(image.shape, bool))
    assert (grown[:, :18] == 1).all()
    assert (grown[:, 22:] == 2).all()


def test_nothing_grows_from_nothing_or_into_nothing():
    image, none = np.ones((6, 7)), np.zeros((6, 7), np.int32)
    assert not propagate(image, none, image > 0).any()
    one = none.copy()
    one[2, 3] = 5
    assert np.array_equal(propagate(image, one, image < 0), one)
    assert propagate(image[:0], none[:0], image[:0] > 0).shape == (0, 7)
    with pytest.raises(WrongShapeError, match="one shape"):
        propagate(image, none[1:], image > 0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=seeds)
def test_holes_as_in_centrosome(seed):
    rng = np.random.default_rng(seed)
    centres = ndimage.label(ndimage.gaussian_filter(rng.random((40, 50)), 3) > 0.5)[0]
    labels = np.where(rng.random(centres.shape) < 0.1, 0, centres).astype(np.int32)
    assert np.array_equal(fill_holes(labels), fill_labeled_holes(labels))


def test_holes_between_two_objects_stay():
    labels = np.ones((7, 9), np.int32)
    labels[:, 5:] = 2
    labels[2, 2], labels[3, 4], labels[3, 5], labels[0, 7] = 0, 0, 0, 0
    filled = fill_holes(labels)
    assert filled[2, 2] == 1
    assert not filled[3, 4:6].any()
    assert filled[0, 7] == 0
    assert not fill_holes(np.zeros((3, 4), np.int32)).any()
