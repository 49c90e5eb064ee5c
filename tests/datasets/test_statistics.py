"""Statistics against NumPy."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from phenostream.datasets.looking import suspicions
from phenostream.datasets.statistics import BINS, CEILINGS, PERCENTILES, Pool, bin_edges, binned, of_site, percentile_of


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
@pytest.mark.parametrize("level", [3.0, 180.0, 30_000.0])
def test_a_site_against_numpy(dtype, level):
    top = np.iinfo(dtype).max if dtype != "float32" else np.inf
    site = np.minimum(np.random.default_rng(1).poisson(level, (3, 31, 27)), top).astype(dtype)
    found, _ = of_site(site)
    flat = site.reshape(3, -1).astype(np.float64)
    np.testing.assert_allclose(found.mean, flat.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.std, flat.std(axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.least, flat.min(axis=1))
    np.testing.assert_array_equal(found.most, flat.max(axis=1))
    np.testing.assert_allclose(found.percentiles, np.percentile(flat, PERCENTILES, axis=1), rtol=1e-9)
    np.testing.assert_allclose(found.saturated, (flat == top).mean(axis=1))
    assert not found.flat.any() or level * 2 > top


@given(npst.arrays(np.uint8, (1, 3, 5), elements=st.integers(0, 255)))
def test_percentiles_of_small_sites_against_numpy(site):
    found, _ = of_site(site)
    np.testing.assert_allclose(found.percentiles[:, 0], np.percentile(site[0], PERCENTILES), atol=1e-9)


def test_flat_channels_are_told():
    found, _ = of_site(np.stack([np.full((4, 4), 7, np.uint16), np.arange(16, dtype=np.uint16).reshape(4, 4)]))
    assert found.flat.tolist() == [True, False]
    assert found.std[0] == 0.0


def test_bins_cover_every_level_once_and_are_narrow():
    edges = bin_edges()
    assert len(edges) == BINS
    assert edges[0] == 0
    assert (np.diff(edges) > 0).all()
    assert np.array_equal(edges[:1024], np.arange(1024))
    widths = np.diff([*edges, 65536])
    assert (widths[1024:] / edges[1024:] <= 0.002).all()
    counts = np.random.default_rng(0).integers(0, 5, (2, 65536))
    assert np.array_equal(binned(counts).sum(axis=1), counts.sum(axis=1))
    assert np.array_equal(binned(counts[:, :256])[:, :256], counts[:, :256])


def test_percentiles_of_pooled_counts_are_those_of_all_pixels():
    rng = np.random.default_rng(3)
    sites = [rng.poisson(level, (1, 40, 40)).astype(np.uint16) for level in (100, 400, 20_000)]
    pool = Pool.empty(1)
    for site in sites:
        found, counts = of_site(site)
        pool.add_counts(counts)
        pool.add({"pixel_mean": found.mean, "pixel_std": found.std, "pixel_min": found.least, "pixel_max": found.most})
    every = np.concatenate([site.ravel() for site in sites]).astype(np.float64)
    assert pool.sites == 3
    np.testing.assert_allclose(pool.mean, every.mean())
    np.testing.assert_allclose(pool.std, every.std())
    for wanted in (0.1, 1, 50, 99, 99.9):
        exact = np.percentile(every, wanted, method="inverted_cdf")
        assert percentile_of(pool.counts[0], wanted) == pytest.approx(exact, rel=0.002)


def bright(top, share=0.08, seed=0, floor=100.0):
    """An image of cells on a camera that cuts off at `top`: about `share` of its pixels would be brighter."""
    light = floor + np.random.default_rng(seed).gamma(1.5, 1.0, (1, 128, 128))
    return np.minimum(light * (top / np.quantile(light, 1 - share)), top)


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
@pytest.mark.parametrize("top", [1023, 4095, 16383, 65520])
def test_a_camera_of_fewer_bits_than_its_files_is_seen_to_be_saturated(dtype, top):
    step = 16 if top == 65520 else 1
    site = (np.floor(bright(top, floor=0.0) / step) * step).astype(dtype)
    found, _ = of_site(site)
    assert found.saturated[0] == (site == top).mean() >= 0.075
    assert suspicions(found, 0.05) == ("saturated",)
    assert suspicions(of_site(np.minimum(bright(top, 0.02, floor=0.0), top).astype(dtype))[0], 0.05) == ()


@given(st.sampled_from(CEILINGS.tolist()), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0, 4.0, 50.0, 5000.0]))
def test_an_image_that_was_not_cut_off_is_no_false_alarm(top, seed, shape):
    """Dim, narrow and wide ones, the brightest pixel of each exactly at a value at which cameras cut off."""
    light = np.random.default_rng(seed).gamma(shape, 1.0, (1, 48, 48))
    site = np.round(light * (top / light.max())).astype(np.uint16)
    assert site.max() == top
    found, _ = of_site(site)
    if top < 65535:
        assert "saturated" not in suspicions(found, 0.05)
    between = np.minimum(site, top - top // 3)
    assert of_site(between)[0].saturated[0] == 0, "piled up where no camera cuts off"


def test_real_fields_of_sixteen_bits_are_not_saturated(data):
    seen = 0
    for path in sorted((data / "fields").rglob("*.tif*")):
        pixels = tifffile.imread(path)
        if pixels.dtype == np.uint16 and pixels.ndim == 2:
            seen += 1
            assert "saturated" not in suspicions(of_site(pixels[None])[0], 0.05), path.name
            assert "saturated" not in suspicions(of_site(pixels[None] >> 4)[0], 0.05), "nor dim, in twelve bits"
            burnt = np.minimum(pixels[None] * (4095 / np.quantile(pixels, 0.9)), 4095).astype(np.uint16)
            assert suspicions(of_site(burnt)[0], 0.05) == ("saturated",), "a tenth is cut off by twelve bits"
    assert seen >= 3
