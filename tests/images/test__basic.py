"""The decomposition's own parts against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn, idctn

from phenostream.images._basic import BasicOptions, Shading, _largest_singular_value, baseline, decompose


def naive(frames, *, steps):
    """The augmented Lagrangian in its textbook form: nothing folded, nothing kept between steps but the unknowns."""
    shape, count = frames.shape[1:], len(frames)
    stack = np.sort(frames, axis=0).reshape(count, -1)
    norm = np.abs(dctn(frames.mean(0) / frames.mean(), norm="ortho")).sum()
    mu = 12.5 / np.linalg.norm(stack, 2)
    spectrum, scores = np.zeros(shape), np.ones(count)
    residual, multiplier = np.zeros_like(stack), np.zeros_like(stack)
    flat = np.zeros(stack.shape[1])
    for _ in range(steps):
        misfit = (stack - np.outer(scores, flat) - residual + multiplier / mu).mean(0)
        spectrum = spectrum + dctn(misfit.reshape(shape), norm="ortho")
        spectrum = np.sign(spectrum) * np.maximum(np.abs(spectrum) - norm / 800 / mu, 0)
        flat = idctn(spectrum, norm="ortho").ravel()
        target = stack - np.outer(scores, flat) + multiplier / mu
        residual = np.sign(target) * np.maximum(np.abs(target) - 1 / mu, 0)
        violation = stack - np.outer(scores, flat) - residual
        light = (stack - residual).mean(1)
        scores = np.maximum(light / light.mean(), 0)
        multiplier = multiplier + mu * violation
        mu *= 1.5
    return flat.reshape(shape) / flat.mean()


def frames(count=12, side=24, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    flat = 1 - 0.3 * (x**2 + y**2)
    light = rng.uniform(80, 120, (count, 1, 1)) + 400 * (rng.random((count, side, side)) > 0.95)
    return light * flat / flat.mean()


def test_the_folded_steps_equal_the_textbook_ones():
    stack = frames()
    ours = decompose(stack, darkfield=False, options=BasicOptions(iterations=20, tolerance=0, reweightings=1))
    np.testing.assert_allclose(ours.flatfield, naive(stack, steps=20), rtol=1e-4)


def test_more_smoothing_gives_a_smoother_field():
    stack = frames()
    rough, smooth = (
        decompose(stack, darkfield=False, options=BasicOptions(lambda_flatfield=one)).flatfield for one in (0.01, 2.0)
    )
    assert np.abs(np.diff(smooth, 2)).sum() < np.abs(np.diff(rough, 2)).sum()


def test_the_largest_singular_value_is_numpys():
    stack = frames().reshape(12, -1).astype(np.float32)
    assert _largest_singular_value(stack) == pytest.approx(np.linalg.norm(stack, 2), rel=1e-5)


def test_the_baseline_is_the_brightness_of_the_background():
    rng = np.random.default_rng(0)
    flat = np.linspace(0.5, 1.5, 400).reshape(20, 20)
    truth = rng.uniform(50, 200, 9)
    stack = truth[:, None, None] * flat + 7
    stack[:, 5:9, 5:9] += 1000
    np.testing.assert_allclose(baseline(stack, Shading(flat, np.full((20, 20), 7.0))), truth, rtol=1e-5)


def test_one_median_is_numpys():
    stack = np.random.default_rng(0).normal(100, 10, (5, 21, 21))
    ours = baseline(stack, Shading(np.ones((21, 21)), np.zeros((21, 21))), reweightings=1)
    np.testing.assert_allclose(ours, np.median(stack, axis=(1, 2)), rtol=1e-6)
