"""Synthetic fields: what they claim about themselves, measured with SciPy and scikit-image."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import regionprops

from phenostream.synthetic.camera import Camera, Optics
from phenostream.synthetic.cells import KINDS, Population
from phenostream.synthetic.nuclei import field

LONELY = Population(touching=0, mitotic=0, apoptotic=0, polylobed=0, debris=0)


def scene(seed=0, *, shape=(512, 512), n=60, **more):
    return field(np.random.default_rng(seed), shape=shape, n=n, **more)


@pytest.fixture(scope="module")
def two_channels():
    return scene(1, channels=("DNA", "GFP"))


def test_shapes_and_types(two_channels):
    assert two_channels.image.shape == (2, 512, 512)
    assert two_channels.image.dtype == np.uint16
    assert scene(camera=Camera(bits=8)).image.dtype == np.uint8
    assert two_channels.labels.dtype == np.int32
    assert two_channels.flatfield.shape == two_channels.darkfield.shape == (2, 512, 512)


def test_the_same_seed_gives_the_same_field():
    one, again, other = scene(3), scene(3), scene(4)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.labels, again.labels)
    assert (one.image != other.image).mean() > 0.5


def test_every_nucleus_is_there_once_and_in_one_piece(two_channels):
    n = len(two_channels.cells)
    np.testing.assert_array_equal(np.unique(two_channels.labels), np.arange(n + 1))
    assert all(ndimage.label(two_channels.labels == number)[1] == 1 for number in range(1, n + 1))


def test_the_table_equals_scikit_image(two_channels):
    table = two_channels.table().to_pydict()
    regions = regionprops(two_channels.labels, two_channels.light[0])
    assert table["ObjectNumber"] == [region.label for region in regions]
    assert table["Area"] == [int(region.area) for region in regions]
    np.testing.assert_allclose(table["Center_X"], [region.centroid[1] for region in regions])
    np.testing.assert_allclose(table["Center_Y"], [region.centroid[0] for region in regions])
    np.testing.assert_allclose(table["Light_DNA"], [region.intensity_mean for region in regions], rtol=1e-5)


def test_otsu_finds_the_nuclei_of_a_sparse_field():
    found = scene(5, n=30, population=LONELY, optics=Optics(vignetting=0))
    smooth = ndimage.gaussian_filter(found.image[0].astype(float), 1)
    pieces, number = ndimage.label(smooth > threshold_otsu(smooth))
    assert number == len(found.cells) == 30
    seen, true = pieces > 0, found.labels > 0
    assert 2 * (seen & true).sum() / (seen.sum() + true.sum()) > 0.93


def test_touching_nuclei_touch_and_lonely_ones_do_not():
    def meeting(labels):
        grown = ndimage.grey_dilation(labels, size=3)
        pairs = (grown != labels) & (labels > 0)
        return {(a, b) for a, b in zip(labels[pairs], grown[pairs], strict=True)}

    assert not meeting(scene(6, n=40, population=LONELY).labels)
    assert len(meeting(scene(6, n=40, population=Population(touching=0.6)).labels)) >= 8


def test_every_kind_appears_in_a_large_field():
    many = Population(mitotic=0.3, apoptotic=0.15, polylobed=0.15)
    kinds = set(scene(7, shape=(1024, 1344), n=240, population=many).table()["Kind"].to_pylist())
    assert kinds == set(KINDS)


def test_condensed_chromatin_is_brighter():
    table = scene(8, shape=(1024, 1024), n=200, population=Population(mitotic=0.3)).table().to_pydict()
    levels = {kind: [] for kind in KINDS}
    for kind, light in zip(table["Kind"], table["Light_DNA"], strict=True):
        levels[kind].append(light)
    assert np.mean(levels["metaphase"]) > 1.6 * np.mean(levels["interphase"])


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.0])
def test_the_second_channel_keeps_its_ratio(ratio):
    population = Population(ratio=ratio, touching=0, mitotic=0, apoptotic=0, polylobed=0)
    found = scene(
        9, n=12, channels=("DNA", "GFP"), population=population, optics=Optics(haze=0, background=0, vignetting=0)
    )
    light = found.image[1].astype(float) - found.darkfield[1]
    measured = []
    for number in range(1, len(found.cells) + 1):
        inside = ndimage.binary_erosion(found.labels == number, iterations=3)
        ring = ndimage.binary_dilation(found.labels == number, iterations=7) & (
            ndimage.distance_transform_edt(found.labels == 0) > 3
        )
        measured.append(np.median(light[inside]) / np.median(light[ring]))
    assert np.median(measured / found.cells.ratio) == pytest.approx(1, rel=0.1)
    assert np.median(found.cells.ratio) == pytest.approx(ratio, rel=0.15)


def test_an_empty_field_is_dark_field_and_background():
    found = scene(10, n=0, population=Population(debris=0), optics=Optics(background=0))
    assert len(found.cells) == 0
    assert found.table().num_rows == 0
    assert not found.labels.any()
    assert found.image[0].mean() == pytest.approx(found.darkfield[0].mean(), abs=0.1)
    np.testing.assert_allclose(
        found.image[0].mean(axis=1), found.darkfield[0].mean(axis=1), atol=5 * 6 / np.sqrt(512) + 0.1
    )


def test_the_mean_of_many_fields_shows_the_flat_field():
    optics = Optics(background=0.5, vignetting=0.5)
    many = [scene(seed, shape=(128, 128), n=0, population=Population(debris=0), optics=optics) for seed in range(80)]
    flat = np.mean([one.image[0] for one in many], axis=0) - many[0].darkfield[0]
    smooth = ndimage.uniform_filter(flat / flat.mean(), 15)
    assert many[0].flatfield[0].mean() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(smooth[8:-8, 8:-8], many[0].flatfield[0][8:-8, 8:-8], rtol=0.02)
    assert many[0].flatfield[0].min() < 0.75


def test_noise_follows_its_law():
    camera = Camera(gain=2.0, read_noise=6.0, offset=100.0)
    dark = np.full((400, 400), 100, np.float32)
    for light in (0.0, 50.0, 2000.0):
        pixels = camera.expose(np.full((400, 400), light, np.float32), dark, np.random.default_rng(11)).astype(float)
        assert pixels.mean() == pytest.approx(100 + light, abs=5 * np.sqrt(2 * light + 36) / 400 + 0.02)
        # rounding to whole grey levels adds a twelfth
        assert pixels.var() == pytest.approx(2 * light + 36 + 1 / 12, rel=0.03)


def test_defocus_blurs():
    sharp, soft = (scene(12, optics=Optics(defocus=sigma)) for sigma in (0, 6))
    np.testing.assert_array_equal(sharp.labels, soft.labels)
    assert ndimage.laplace(soft.light[0]).var() < 0.02 * ndimage.laplace(sharp.light[0]).var()


def test_a_full_field_gives_fewer_nuclei_instead_of_a_heap():
    found = scene(13, shape=(128, 128), n=300)
    assert 10 < len(found.cells) < 60


def test_a_published_size_of_field_is_quick():
    rng = np.random.default_rng(14)
    start = time.process_time()
    assert len(field(rng, n=240).cells) > 230
    assert time.process_time() - start < 15  # half a second on a free core


def test_moved_cells_keep_their_looks():
    cells = scene(15, n=20).cells
    later = cells.moved(np.random.default_rng(0), step=2.0)
    assert 0.5 < np.hypot(*(later.centre - cells.centre).T).mean() < 5
    np.testing.assert_array_equal(later.axes, cells.axes)
