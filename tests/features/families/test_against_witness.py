"""Every family against cp_measure 0.3, which shares no code with ours, on fields made to be awkward."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenostream.features.registry import names
from phenostream.features.settings import PUBLISHED
from phenostream.testing.measures import awkward_field, check_conformance, disagreements

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _witness_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", ["size_shape", "feret", "zernike", "intensity", "radial_distribution"])
@quick
@given(seed=seeds)
def test_same_numbers(name, seed):
    found = disagreements(name, *awkward_field(seed), rtol=1e-9, atol=1e-11)
    # An object with equal moments along both axes has no orientation: there the sign is rounding.
    assert [line for line in found if "Orientation" not in line] == []


@settings(quick, max_examples=12)
@given(seed=seeds)
def test_same_textures(seed):
    # InfoMeas2 is the square root of a difference: rounding of 1e-16 in it shows as 1e-8.
    assert disagreements("texture", *awkward_field(seed), rtol=1e-7, atol=5e-8) == []


@quick
@given(seed=seeds, scale=st.integers(1, 5), levels=st.sampled_from([2, 8, 37, 256]))
def test_same_textures_at_other_scales(seed, scale, levels):
    ours = {"scales": (scale,), "grey_levels": levels}
    found = disagreements(
        "texture", *awkward_field(seed), rtol=1e-7, atol=5e-8, settings=ours, scale=scale, gray_levels=levels
    )
    assert found == []


@settings(quick, max_examples=8)
@given(seed=seeds)
def test_same_granularity(seed):
    # SciPy's grey erosion reads beyond an image that is smaller than the disk: the fields are large enough not to.
    assert disagreements("granularity", *awkward_field(seed, least=190, most=260), rtol=1e-7, atol=1e-9) == []


@settings(quick, max_examples=8)
@given(seed=seeds, subsample=st.sampled_from([0.3, 0.5, 1.0]), back=st.sampled_from([0.4, 0.5, 1.0]))
def test_same_granularity_at_other_scales(seed, subsample, back):
    ours = {"subsample": subsample, "background_subsample": back, "radius": 3, "length": 5}
    theirs = {"subsample_size": subsample, "image_sample_size": back, "element_size": 3, "granular_spectrum_length": 5}
    image, labels = awkward_field(seed, least=50, most=70)
    assert disagreements("granularity", image, labels, rtol=1e-7, atol=1e-9, settings=ours, **theirs) == []


@quick
@given(seed=seeds, method=st.sampled_from(["adjacent", "within"]), distance=st.integers(1, 7))
def test_same_neighbors(seed, method, distance):
    image, labels = awkward_field(seed)
    if len(np.unique(labels)) < 4:
        return
    theirs = {"distance_method": {"adjacent": "Adjacent", "within": "Within a specified distance"}[method]}
    ours = {"method": method, "distance": distance}
    found = disagreements("neighbors", image, labels, rtol=1e-9, settings=ours, distance=distance, **theirs)
    # Objects at equal distances may be ranked either way, which the angle shows.
    assert [line for line in found if "Angle" not in line] == []


@pytest.mark.parametrize("name", names())
@settings(quick, max_examples=5)
@given(seed=seeds)
def test_conformance(name, seed):
    check_conformance(name, *awkward_field(seed))


def test_published_families_exist():
    assert set(PUBLISHED) <= set(names())


@quick
@given(seed=seeds)
def test_same_moments(seed):
    found = disagreements("size_shape", *awkward_field(seed), rtol=1e-8, atol=1e-7, settings={"moments": True})
    # What is zero by symmetry is rounding of large terms in both.
    assert [line for line in found if "Orientation" not in line and "CentralMoment" not in line] == []


@quick
@given(seed=seeds)
def test_same_radial_zernikes(seed):
    found = disagreements("radial_zernike", *awkward_field(seed), rtol=1e-8, atol=1e-11)
    # The phase of a moment that is zero is rounding.
    assert [line for line in found if "Phase" not in line] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["size_shape", "feret", "intensity", "granularity", "radial_distribution", "zernike", "neighbors"]
)
def test_ten_thousand_objects(name):
    rng = np.random.default_rng(11)
    labels = np.zeros((1100, 1100), np.int32)
    for number in range(10_000):
        top, left = 11 * (number // 100), 11 * (number % 100)
        tall, wide = rng.integers(6, 12, 2)
        labels[top : top + tall, left : left + wide] = number + 1
        labels[top, left] = 0
    image = rng.integers(1, 256, labels.shape).astype(np.uint8)
    theirs = {"distance_method": "Adjacent"} if name == "neighbors" else {}
    found = disagreements(name, image, labels, rtol=1e-7, atol=5e-8, **theirs)
    # Boxes have four corners on their circle, and many neighbours at one distance.
    loose = ("Zernike", "Angle", "Orientation")
    assert [line for line in found if not any(word in line for word in loose)] == []
