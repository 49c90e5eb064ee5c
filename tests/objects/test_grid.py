"""Coarser and finer grids."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import block_reduce

from phenostream.objects.grid import background, repeat, shrink, stretch


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_shrink_is_the_mean_of_blocks(factor):
    image = np.random.default_rng(0).random((30, 60)).astype(np.float32)
    assert np.allclose(shrink(image, factor), block_reduce(image, factor, np.mean), atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_there_and_back_keeps_shape_and_planes(factor):
    y, x = np.mgrid[:33, :47]
    image = (2 * y + 3 * x).astype(np.float32)
    back = stretch(shrink(image, factor), factor, image.shape)
    inner = np.s_[factor : 33 // factor * factor - factor, factor : 47 // factor * factor - factor]
    assert back.shape == repeat(shrink(image, factor), factor, image.shape).shape == image.shape
    assert np.allclose(back[inner], image[inner], atol=1e-3)


def test_background_runs_under_small_things_and_over_wide_ones():
    y, x = np.mgrid[:200, :200]
    spots = ((y % 40 < 12) & (x % 40 < 12)) * 100.0
    under = background((spots + 50).astype(np.float32), 36)
    assert np.allclose(under, 50)
    plateau = ndimage.uniform_filter((x > 100) * 100.0, 9).astype(np.float32)
    assert background(plateau, 36)[100, 170] == pytest.approx(100)
