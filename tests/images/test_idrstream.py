"""The comparison mode, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from phenostream.errors import EmptyError, WrongShapeError
from phenostream.images import fit_illumination, idrstream


def movie(frames=3, seed=0):
    rng = np.random.default_rng(seed)
    light = rng.normal(60, 2, (frames, 40, 50))
    light[:, 10:18, 20:28] += 120
    return np.clip(light * np.linspace(0.8, 1.2, 50), 0, 255).astype(np.uint8)


def test_it_is_corrected_cut_and_stretched_by_the_whole_stack():
    stack = movie()
    model = fit_illumination(stack, darkfield=True)
    expected = (stack - model.darkfield.astype(float)) / model.flatfield - model.baseline[:, None, None]
    expected = np.maximum(expected, 0)
    expected = np.floor(expected / expected.max() * 255)
    result = idrstream(stack)
    assert result.dtype == np.uint8
    assert result.shape == stack.shape
    assert result.max() == 255
    assert np.abs(result - expected).max() <= 1


def test_absolute_intensity_is_lost():
    stack = movie().astype(np.uint16)
    np.testing.assert_allclose(idrstream(stack), idrstream(stack * 50), atol=1)


def test_a_dark_movie_stays_dark():
    assert not idrstream(np.zeros((3, 20, 20), np.uint8)).any()


def test_two_frames_are_refused():
    with pytest.raises(EmptyError, match="3 frames"):
        idrstream(movie(2))
    with pytest.raises(WrongShapeError):
        idrstream(np.zeros((20, 20), np.uint8))
