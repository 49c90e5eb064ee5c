"""What smoothing brings out of an empty field is not an object."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from phenostream import segment
from phenostream.objects.classical import clear


@pytest.mark.parametrize("seed", range(4))
def test_an_empty_field_that_is_lit_unevenly_has_no_objects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shade = ndimage.gaussian_filter(rng.normal(size=(320, 320)), 30)
    shade *= 8 / np.ptp(shade)
    empty = 70 + shade + rng.normal(0, 14, (320, 320))
    assert segment(empty.astype(np.uint16)).max() == 0


def test_faint_objects_go_and_numbers_close_up() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[2:8, 2:8], labels[2:8, 12:18], labels[12:18, 2:8] = 1, 2, 3
    bright = np.float32([0, 5, 0.5, 2])[labels]
    kept = clear(labels, bright, 1.0)
    assert np.array_equal(np.unique(kept), [0, 1, 2])
    assert np.array_equal(kept == 2, labels == 3)
