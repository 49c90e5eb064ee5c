"""Crops against SciPy's interpolation, PyTorch's resize and TensorFlow's documented formulas in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from phenostream.features.deep.gather import gather, gather_deepprofiler, ranges

IMAGE = np.random.default_rng(0).random((2, 40, 57)).astype(np.float32)
NOBODY = np.zeros(IMAGE.shape[1:], np.int32)


def _cut(corners, sides, size, labels=NOBODY, own=None, limits=(0, 1)):
    count = len(sides)
    told = np.tile(np.array(limits, np.float32), (count, 2, 1))
    own = np.zeros(count, np.int32) if own is None else np.array(own, np.int32)
    return gather(IMAGE, np.array(corners, float), np.array(sides, float), size, labels, own, told)


def test_whole_pixels_are_copied():
    (crop,) = _cut([(3, 5)], [16], 16)
    assert np.array_equal(crop, IMAGE[:, 3:19, 5:21])


def test_outside_of_the_image_is_zero():
    (crop,) = _cut([(-4, 50)], [16], 16)
    padded = np.pad(IMAGE, ((0, 0), (4, 16), (0, 16)))
    assert np.array_equal(crop, padded[:, :16, 50:66])


@pytest.mark.parametrize(("side", "size"), [(16, 37), (20, 15), (9.5, 24)])
def test_resampling_is_scipy_interpolation_of_the_box(side, size):
    corner = (6.25, 11.5)
    (crop,) = _cut([corner], [side], size)
    at = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)
    grid = np.meshgrid(corner[0] + at, corner[1] + at, indexing="ij")
    for channel in range(2):
        wanted = ndimage.map_coordinates(IMAGE[channel].astype(float), grid, order=1)
        np.testing.assert_allclose(crop[channel], wanted, atol=2e-6)


def test_equals_pytorch_bilinear_resize_of_the_slice():
    torch = pytest.importorskip("torch")
    (crop,) = _cut([(3, 5)], [20], 48)
    part = torch.from_numpy(IMAGE[None, :, 3:23, 5:25].copy())
    wanted = torch.nn.functional.interpolate(part, size=48, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(crop, wanted.numpy(), atol=5e-6)


def test_shrinking_averages():
    (crop,) = _cut([(0, 0)], [32], 8)
    wanted = IMAGE[:, :32, :32].reshape(2, 8, 4, 8, 4).mean((2, 4))
    np.testing.assert_allclose(crop, wanted, atol=1e-6)


def test_a_mask_leaves_only_the_own_pixels():
    labels = NOBODY.copy()
    labels[5:12, 8:15], labels[5:12, 15:20] = 3, 4
    (crop,) = _cut([(2, 5)], [16], 16, labels, [3])
    wanted = np.where(labels[2:18, 5:21] == 3, IMAGE[:, 2:18, 5:21], 0)
    assert np.array_equal(crop, wanted)


def test_limits_become_zero_and_one_and_a_flat_range_gives_zeros():
    (crop,) = _cut([(3, 5)], [16], 16, limits=(0.25, 0.75))
    np.testing.assert_allclose(crop, (IMAGE[:, 3:19, 5:21] - 0.25) / 0.5, atol=1e-6)
    assert not _cut([(3, 5)], [16], 16, limits=(0.5, 0.5)).any()


def test_ranges_look_at_the_image_alone_and_at_the_object_alone():
    labels = NOBODY.copy()
    labels[0:4, 0:4] = 2
    corners, sides = np.array([(-5.0, -5.0), (-5.0, -5.0), (-50.0, -50.0)]), np.array([12.0, 12.0, 12.0])
    found = ranges(IMAGE, corners, sides, labels, np.array([0, 2, 0], np.int32))
    for place, part in ((0, IMAGE[:, :7, :7]), (1, IMAGE[:, :4, :4])):
        assert np.array_equal(found[place], np.stack([part.min((1, 2)), part.max((1, 2))], 1))
    assert not found[2].any()


def _crop_and_resize(image, centre, box):
    """TensorFlow's documentation of crop_and_resize: normalised coordinates, corners included, zero outside."""
    height, width = image.shape
    y1, x1 = (centre[0] - box / 2) / height, (centre[1] - box / 2) / width
    y2, x2 = (centre[0] + box / 2) / height, (centre[1] + box / 2) / width
    y = y1 * (height - 1) + np.arange(box) * (y2 - y1) * (height - 1) / (box - 1)
    x = x1 * (width - 1) + np.arange(box) * (x2 - x1) * (width - 1) / (box - 1)
    inside = ((y >= 0) & (y <= height - 1))[:, None] & ((x >= 0) & (x <= width - 1))
    told = ndimage.map_coordinates(image.astype(float), np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
    return np.where(inside, told, 0)


def _resize_v1(crop, size):
    """The first-generation resize_bilinear: output i looks at i * box / size, the last row and column repeated."""
    at = np.arange(size) * len(crop) / size
    grid = np.meshgrid(at, at, indexing="ij")
    return ndimage.map_coordinates(crop, grid, order=1, mode="nearest")


@pytest.mark.parametrize("centre", [(20.3, 30.7), (3.2, 55.1), (39.0, 0.0)])
def test_deepprofilers_crop_follows_the_formulas_of_tensorflow(centre):
    (crop,) = gather_deepprofiler(IMAGE, np.array([centre]), 32, 56)
    for channel in range(2):
        wanted = _resize_v1(_crop_and_resize(IMAGE[channel], centre, 32), 56)
        np.testing.assert_allclose(crop[channel], wanted, atol=1e-5)
