"""Outlines against skimage's polygons and Pick's theorem."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.draw import ellipse, polygon
from skimage.measure import label, regionprops

from phenostream import objects
from phenostream.errors import WrongDtypeError, WrongShapeError
from phenostream.objects import outlines


def blobs(seed):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(50, 60)), rng.uniform(0.3, 3))
    pieces = label(field > np.percentile(field, rng.uniform(20, 95)), connectivity=2)
    return np.where(rng.random(pieces.max() + 1)[pieces] < 0.8, pieces, 0)


def filled(outline, shape):
    mask = np.zeros(shape, bool)
    mask[polygon(outline[:, 0], outline[:, 1], shape)] = True
    mask[outline[:, 0], outline[:, 1]] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_the_filled_outline_is_the_object_without_its_holes(seed):
    labels = blobs(seed)
    found = outlines(labels)
    assert len(found) == len(np.unique(labels[labels > 0]))
    for region, outline in zip(regionprops(labels), found, strict=True):
        whole = ndimage.binary_fill_holes(labels == region.label)  # holes are 4-connected, objects 8-connected
        assert np.array_equal(filled(outline, labels.shape), whole)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_points_are_border_pixels_in_unbroken_order(seed):
    labels = blobs(seed)
    for number, outline in zip(np.unique(labels[labels > 0]), outlines(labels), strict=True):
        steps = np.abs(np.diff(outline, axis=0, append=outline[:1]))
        assert (steps.max(axis=1) == 1).all() or len(outline) == 1
        mask = labels == number
        inner = ndimage.binary_erosion(mask, border_value=0)
        assert mask[tuple(outline.T)].all()
        assert not inner[tuple(outline.T)].any()
        assert tuple(outline[0]) == tuple(np.argwhere(mask)[0])


def test_area_follows_from_the_outline():
    """Pick: the pixels of an object without holes are the area of the polygon, half its points, and one."""
    labels = np.zeros((60, 60), np.int32)
    labels[ellipse(30, 28, 17, 11, rotation=0.5)] = 4
    (outline,) = outlines(labels)
    y, x = outline.T
    area = abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2
    assert area + len(outline) / 2 + 1 == (labels == 4).sum()


def test_outlines_run_clockwise():
    labels = np.zeros((5, 5), np.int32)
    labels[1:4, 1:4] = 1
    assert outlines(labels)[0].tolist() == [[1, 1], [1, 2], [1, 3], [2, 3], [3, 3], [3, 2], [3, 1], [2, 1]]


def test_the_smallest_objects():
    labels = np.zeros((4, 6), np.uint16)
    labels[0, 0], labels[3, 1:5], labels[1, 5] = 9, 3, 2
    dot, line, alone = outlines(labels)[2], outlines(labels)[1], outlines(labels)[0]
    assert dot.tolist() == [[0, 0]]
    assert alone.tolist() == [[1, 5]]
    assert line.tolist() == [[3, 1], [3, 2], [3, 3], [3, 4], [3, 3], [3, 2]]


def test_of_several_pieces_the_largest_is_outlined():
    labels = np.zeros((20, 20), np.int32)
    labels[1:3, 1:3] = labels[5:12, 5:12] = labels[15, 15] = 7
    assert filled(outlines(labels)[0], labels.shape).sum() == 49


def test_touching_objects_do_not_mix():
    labels = np.repeat([[1, 1, 2, 2, 3]], 4, axis=0)
    assert [np.unique(labels[tuple(outline.T)]).tolist() for outline in outlines(labels)] == [[1], [2], [3]]


def test_nothing_to_outline():
    assert outlines(np.zeros((3, 4), np.int32)) == []
    assert outlines(np.zeros((0, 0), np.int32)) == []
    with pytest.raises(WrongShapeError):
        outlines(np.zeros(3, np.int32))
    with pytest.raises(WrongDtypeError, match="astype"):
        outlines(np.zeros((3, 3)))


def test_a_screening_field_takes_little_time():
    labels = np.zeros((1024, 1344), np.int32)
    places = [(y, x) for y in range(40, 1000, 65) for x in range(40, 1320, 80)]
    for number, (y, x) in enumerate(places, start=1):
        labels[ellipse(y, x, 12 + number % 7, 10 + number % 5)] = number
    spent = []
    for _ in range(5):
        start = time.process_time()
        found = outlines(labels)
        spent.append(time.process_time() - start)
    assert len(found) == 240
    assert min(spent) < 0.5  # 0.02 s on an idle core


def test_mean_of_outline_is_near_the_centroid():
    labels = np.zeros((40, 40), np.int32)
    labels[ellipse(20, 18, 9, 7)] = 1
    assert np.allclose(outlines(labels)[0].mean(axis=0), objects.centroids(labels)[0], atol=0.6)
