"""Centres against SciPy and against the outlines that another room traces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from phenostream.features.deep.boxes import centroids, outline_means
from phenostream.objects import outlines


def _blobs(seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((120, 150)), 3)
    labels, count = ndimage.label(noise > np.quantile(noise, 0.6))
    sizes = np.bincount(labels.ravel())
    _ = count
    return np.where(sizes[labels] > 1, labels, 0).astype(np.int32)


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, int]:
    numbers = np.unique(labels[labels > 0])
    return np.searchsorted(numbers, labels).astype(np.int32) + (labels > 0), len(numbers)


@pytest.mark.parametrize("seed", range(3))
def test_centroids_are_scipys(seed: int) -> None:
    labels, count = _numbered(_blobs(seed))
    labels = labels.astype(np.int32)
    found = centroids(labels, count)
    np.testing.assert_allclose(found[:, :2], ndimage.center_of_mass(labels > 0, labels, range(1, count + 1)))
    assert np.array_equal(found[:, 2], np.bincount(labels.ravel())[1:])


@pytest.mark.parametrize("seed", range(3))
def test_outline_means_are_those_of_the_traced_outlines(seed: int) -> None:
    """Objects with holes and bays, in one piece each."""
    labels, count = _numbered(_blobs(seed))
    labels = labels.astype(np.int32)
    wanted = [outline.mean(axis=0) for outline in outlines(labels)]
    np.testing.assert_allclose(outline_means(labels, count), wanted)


def test_the_longest_outline_of_several_pieces_counts() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[1:3, 1:3], labels[8:15, 8:20], labels[18, 28] = 1, 1, 1
    (found,) = outline_means(labels, 1)
    np.testing.assert_allclose(found, (11, 13.5))


def test_a_single_pixel_and_a_line() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[2, 3] = 1
    labels[5, 1:7] = 2
    np.testing.assert_allclose(outline_means(labels, 2), [(2, 3), (5, 3.5)])


def test_the_border_of_a_hole_is_no_outline() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[2:38, 2:38] = 1
    labels[10:30, 4:12] = 0
    labels[20, 5:11] = 1  # a spike into the hole
    (outline,) = outlines(labels)
    np.testing.assert_allclose(outline_means(labels, 1)[0], outline.mean(axis=0))
