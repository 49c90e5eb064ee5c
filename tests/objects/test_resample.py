"""Resampling against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import resize

from phenostream.objects.resample import resample


@pytest.mark.parametrize("shape", [(60, 90), (15, 20), (30, 40), (29, 80), (1, 1), (7, 400)])
@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_as_skimage(shape, kind):
    image = (1000 * np.random.default_rng(0).random((30, 40))).astype(kind)
    wanted = resize(image.astype(np.float64), shape, order=1, mode="symmetric", anti_aliasing=True)
    found = resample(image, shape)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-3


def test_single_pixels_and_lines():
    assert (resample(np.full((1, 1), 3), (4, 5)) == 3).all()
    assert np.allclose(resample(np.arange(4.0)[None], (2, 4)), np.arange(4.0)[None])
