"""Quality figures against NumPy's and SciPy's plain formulas and images of known kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from skimage.data import camera

from phenostream.errors import EmptyError, WrongDtypeError, WrongShapeError
from phenostream.images import power_slope, quality


def test_figures_are_their_formulas():
    image = np.random.default_rng(0).integers(0, 256, (60, 80)).astype(np.uint8)
    figures = quality(image)
    kernel = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    padded = np.pad(image.astype(float), 1, mode="symmetric")
    laplacian = convolve2d(padded, kernel, mode="valid")
    assert figures["focus"] == pytest.approx(laplacian.var() / image.mean() ** 2)
    assert figures["mean"] == pytest.approx(image.mean())
    assert figures["median"] == np.median(image)
    assert figures["spread"] == pytest.approx(image.std())
    assert (figures["low"], figures["high"]) == tuple(np.percentile(image, (1, 99)))
    assert figures["saturated"] == np.mean(image == 255)
    assert figures["maximal"] == np.mean(image == image.max())


def test_blur_lowers_focus_and_slope_and_exposure_does_not():
    image = camera().astype(float)
    sharp, blurred, dimmed = (quality(one) for one in (image, gaussian_filter(image, 2), image / 3))
    assert blurred["focus"] < 0.1 * sharp["focus"]
    assert blurred["slope"] < sharp["slope"] - 1
    assert dimmed["focus"] == pytest.approx(sharp["focus"])
    assert dimmed["slope"] == pytest.approx(sharp["slope"])


@pytest.mark.parametrize("exponent", [0.0, -1.0, -2.0, -3.0])
def test_slope_of_noise_made_with_that_slope(exponent):
    rng = np.random.default_rng(3)
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
    radius[0, 0] = np.inf if exponent < 0 else 1
    spectrum = np.fft.fft2(rng.normal(size=(256, 256))) * radius ** (exponent / 2)
    image = np.fft.ifft2(spectrum).real
    assert power_slope(image) == pytest.approx(exponent, abs=0.25)


def test_saturation_is_at_the_limit():
    image = np.full((10, 10), 4095, np.uint16)
    image[:5] = 10
    assert quality(image)["saturated"] == 0
    assert quality(image)["maximal"] == 0.5
    assert quality(image, limit=4095)["saturated"] == 0.5
    assert quality(image.astype(float))["saturated"] == 0
    assert quality(np.full((9, 9), 255, np.uint8))["saturated"] == 1


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
        elements=st.integers(0, 255),
    )
)
@settings(max_examples=60, deadline=None)
def test_every_figure_is_finite(image):
    assert all(np.isfinite(value) for value in quality(image).values())


def test_a_blank_image_has_no_focus():
    figures = quality(np.zeros((32, 32), np.uint8))
    assert (figures["focus"], figures["slope"]) == (0, 0)
    assert quality(np.full((32, 32), 9.5))["slope"] == 0


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((2, 3, 4)), WrongShapeError),
        (np.zeros((0, 4)), EmptyError),
        (np.zeros((4, 4), complex), WrongDtypeError),
    ],
)
def test_what_has_no_quality_is_refused(image, error):
    with pytest.raises(error):
        quality(image)
