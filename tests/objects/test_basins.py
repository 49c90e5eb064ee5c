"""The watershed by persistence, against scikit-image's h-maxima and watershed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import reconstruction

from phenostream.objects.basins import basins


def hills(seed, shape=(60, 70)):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 3)
    return ((field - field.min()) / np.ptp(field)).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("depth", [0.05, 0.2, 0.5])
def test_as_many_as_there_are_h_maxima(seed, depth):
    energy = hills(seed)
    levels = np.rint(energy * 65535)
    step = np.ceil(depth * 65535)
    lowered = reconstruction(levels - step, levels, footprint=np.ones((3, 3)))
    # A maximum of the lowered surface that came down by the whole step stood out by at least as much.
    flat = reconstruction(lowered - 1, lowered, footprint=np.ones((3, 3)))
    peaks, count = ndimage.label(lowered > flat, np.ones((3, 3)))
    labels = basins(energy, np.ones(energy.shape, bool), depth)
    assert np.unique(labels).size == count
    owners = [np.unique(labels[(peaks == peak) & (levels - lowered >= step)]) for peak in range(1, count + 1)]
    assert sorted(owner[0] for owner in owners) == sorted(np.unique(labels))


@pytest.mark.parametrize("seed", range(3))
def test_catchments_hang_together_and_cover_all(seed):
    energy = hills(seed)
    inside = hills(seed + 10) > 0.45
    labels = basins(energy, inside, 0.1)
    assert np.array_equal(labels > 0, inside)
    for label in np.unique(labels[inside]):
        assert ndimage.label(labels == label, np.ones((3, 3)))[1] == 1


def test_two_hills_part_at_the_valley():
    x = np.arange(40)
    energy = np.tile(np.maximum(1 - abs(x - 10) / 12, 0.9 - abs(x - 30) / 12), (5, 1)).astype(np.float32)
    inside = np.ones(energy.shape, bool)
    deep = basins(energy, inside, 0.3)
    assert np.unique(deep).size == 2
    assert len(set(deep[2, :21])) == len(set(deep[2, 21:])) == 1
    assert np.unique(basins(energy, inside, 0.95)).size == 1


def test_nothing_inside():
    assert not basins(np.ones((4, 5), np.float32), np.zeros((4, 5), bool), 0.1).any()
    assert basins(np.ones((0, 5), np.float32), np.zeros((0, 5), bool), 0.1).shape == (0, 5)
