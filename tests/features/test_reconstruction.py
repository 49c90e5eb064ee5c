"""Reconstruction against scikit-image's, on images made to lead light by long ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import reconstruction

from phenostream.features.reconstruction import Flow

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])


def serpentine(side):
    """One bright way through the whole image, a pixel wide."""
    image = np.zeros((side, side))
    image[::2] = 1
    image[1::4, -1], image[3::4, 0] = 1, 1
    return image


def check(flow, marker, mask):
    expected = reconstruction(marker, mask, footprint=CROSS)
    found = marker.copy()
    flow.raise_to(found, mask)
    assert np.array_equal(found, expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_as_in_scikit_image(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 40, 2))
    flow = Flow(shape)
    for levels in (2, 256, 1 << 50):
        mask = rng.integers(0, levels, shape) / levels
        # Markers from a few bright pixels to nearly all of the mask.
        check(flow, np.where(rng.random(shape) < rng.random() ** 3, mask, mask * rng.random()), mask)
        check(flow, mask * (rng.random(shape) < 0.05), mask)


@pytest.mark.parametrize("slope", [0.0, 1.0, -0.9])
def test_long_ways(slope):
    mask = serpentine(41)
    mask *= 1 + slope * np.linspace(0, 1, mask.size).reshape(mask.shape)
    for place in (0, mask.size // 2, mask.size - 1):
        marker = np.zeros_like(mask)
        marker.ravel()[place] = mask.ravel()[place]
        check(Flow(mask.shape), marker, mask)


def test_values_of_every_size():
    rng = np.random.default_rng(2)
    mask = 10.0 ** rng.uniform(-300, 300, (30, 30))
    check(Flow(mask.shape), mask * (rng.random(mask.shape) < 0.1), mask)
    check(Flow(mask.shape), np.zeros_like(mask), np.zeros_like(mask))


def test_working_memory_is_clean_after_use():
    rng = np.random.default_rng(3)
    flow = Flow((25, 35))
    for _ in range(10):
        mask = rng.random((25, 35))
        check(flow, mask * (rng.random(mask.shape) < 0.02), mask)
