"""Scattering: invariances that the mathematics promises, and a first order computed directly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from phenostream.errors import WrongShapeError
from phenostream.profiles.phenotypes import scattering as module
from phenostream.profiles.phenotypes.scattering import scattering, scattering_names


def crop(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:64, :64] - 31.5
    blob = np.exp(-(rows**2 / 200 + columns**2 / 60)) * 150
    return (blob + 15 * rng.random((64, 64)) * (blob > 20)).astype(np.uint8)


def test_columns_are_named() -> None:
    made = scattering(crop()[None])
    assert made.shape == (1, len(scattering_names()))
    assert len(set(scattering_names())) == made.shape[1] == 144
    assert np.isfinite(made).all()


def test_gain_and_offset_do_not_count() -> None:
    one = crop().astype(np.uint16)
    np.testing.assert_allclose(scattering((3 * one + 100)[None]), scattering(one[None]), atol=1e-9)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_by_right_angles_and_mirroring_change_nothing(turns: int) -> None:
    one = crop()
    np.testing.assert_allclose(scattering(np.rot90(one, turns)[None]), scattering(one[None]), atol=1e-6)
    np.testing.assert_allclose(scattering(one[:, ::-1][None]), scattering(one[None]), atol=1e-6)


def test_the_first_order_is_a_convolution() -> None:
    rng = np.random.default_rng(1)
    field = np.zeros((1, 64, 64))
    field[0, 24:40, 24:40] = rng.random((16, 16))
    wave = np.fft.fftshift(np.fft.ifft2(module._filters(64)[0, 3]))
    direct = np.abs(fftconvolve(field[0], wave, mode="same"))
    first, _ = module._coefficients(field)
    # The convolution is centred on pixel 32, the window over everything does not mind.
    assert first[0, 0, 3, -1] == pytest.approx(direct.mean(), rel=1e-3)


def test_wavelets_do_not_answer_a_constant() -> None:
    assert np.abs(module._filters(64)[:, :, 0, 0]).max() < 1e-12
    flat = scattering(np.full((2, 64, 64), 9, np.uint8))
    assert np.isfinite(flat).all()


def test_crops_must_be_square() -> None:
    with pytest.raises(WrongShapeError):
        scattering(np.zeros((2, 32, 64)))
