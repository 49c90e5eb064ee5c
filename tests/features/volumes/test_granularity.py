"""Granularity of volumes against cp_measure, which follows CellProfiler to the letter, and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from cp_measure.core.measuregranularity import get_granularity
from scipy import ndimage
from skimage.morphology import ball, reconstruction

from phenostream.errors import RecipeError
from phenostream.features import MeasureSettings, measure


def volume(seed, shape):
    """Touching, concave, border and single-voxel objects, and their light."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (1.5, 3, 3))
    labels = ndimage.label(blobs > np.quantile(blobs, 0.8))[0].astype(np.int32)
    middle = shape[2] // 2
    labels[:, :, middle:][labels[:, :, middle:] > 0] += labels.max()
    labels[-1, -1, -1] = labels[shape[0] // 2, 0, 3] = labels.max() + 1
    labels = np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.int32)
    light = ndimage.gaussian_filter(rng.random(shape), 1) + 0.2 * blobs.clip(0)
    light = (light - light.min()) / (light.max() - light.min())
    return (light * 60000).astype(np.uint16), labels


def spectrum(image, labels, **parameters):
    settings = MeasureSettings(families=("granularity",), parameters={"granularity": parameters})
    table = measure(image, labels, settings=settings)
    return np.column_stack([table[name].to_numpy() for name in table.column_names[1:]])


SCALES = [  # the volume, then subsample, background subsample, radius and length
    ((72, 84, 90), 0.25, 0.25, 10, 16),
    ((30, 41, 37), 0.5, 0.4, 3, 6),
    ((33, 37, 34), 0.3, 0.25, 2, 5),
    ((23, 37, 34), 0.3, 1.0, 2, 5),
    ((23, 30, 34), 1.0, 0.5, 2, 5),
    ((23, 30, 34), 1.0, 1.0, 3, 5),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("shape", "subsample", "back", "radius", "length"), SCALES)
def test_same_as_cellprofiler(seed, shape, subsample, back, radius, length):
    image, labels = volume(seed, shape)
    found = spectrum(image, labels, subsample=subsample, background_subsample=back, radius=radius, length=length)
    witness = get_granularity(labels, image / 65535, subsample, back, radius, length)
    expected = np.column_stack([witness[f"Granularity_{i}"] for i in range(1, length + 1)])
    assert expected.shape == (labels.max(), length)
    assert np.ptp(expected[:, :3], axis=0).min() > 1  # the sizes tell objects apart
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def sampled(image, *places):
    return ndimage.map_coordinates(image, np.meshgrid(*places, indexing="ij"), order=1)


@pytest.mark.parametrize(("subsample", "back", "radius"), [(0.5, 0.5, 2), (0.5, 0.4, 3), (1.0, 0.5, 3)])
def test_a_background_of_the_whole_volume(subsample, back, radius):
    image, labels = volume(2, (34, 41, 44))
    found = spectrum(
        image, labels, subsample=subsample, background_subsample=back, radius=radius, length=4, background="whole"
    )
    light = image / 65535
    small = [int(side * subsample) for side in light.shape]
    reduced = sampled(light, *(np.arange(side) / subsample for side in small))
    lower = sampled(reduced, *(np.arange(np.ceil(side * back)) / back for side in small))
    opened = ndimage.grey_opening(lower, footprint=ball(radius))
    ground = sampled(opened, *(np.arange(side) * (side * back - 1) / (side - 1) for side in small))
    grains = eroded = (reduced - ground).clip(0)
    index = np.arange(1, labels.max() + 1)
    means = [ndimage.mean(light, labels, index)]
    full = [np.arange(b) * ((a - 1) / (b - 1)) for a, b in zip(small, light.shape, strict=True)]
    for _ in range(4):
        eroded = ndimage.grey_erosion(eroded, footprint=ball(1))
        left = reconstruction(eroded, grains, footprint=ball(1))
        means.append(ndimage.mean(sampled(left, *full), labels, index))
    np.testing.assert_allclose(found, (-100 * np.diff(means, axis=0) / means[0]).T, rtol=1e-6, atol=1e-9)
    if back < 1:
        theirs = spectrum(image, labels, subsample=subsample, background_subsample=back, radius=radius, length=4)
        assert abs(found - theirs).max() > 1  # it is another background


def test_real_nuclei(data):
    image = tifffile.imread(data / "shapes3d/nuclei3d/stardist_img3d.tif")
    labels = tifffile.imread(data / "shapes3d/nuclei3d/stardist_mask3d.tif")
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
    expected = np.column_stack(list(get_granularity(labels, image / np.iinfo(image.dtype).max).values()))
    np.testing.assert_allclose(spectrum(image, labels), expected, rtol=1e-6, atol=1e-7)


def test_grains_go_at_their_size():
    image, labels = np.zeros((21, 21, 21), np.uint8), np.zeros((21, 21, 21), np.int32)
    for number, (place, radius) in enumerate({5: 1, 15: 2}.items(), 1):
        inside = sum(abs(axis - place) for axis in np.indices(image.shape)) <= radius  # what so many erosions take
        image[inside], labels[inside] = 200, number
    found = spectrum(image, labels, subsample=1, background_subsample=1, radius=6, length=4)
    np.testing.assert_allclose(found, [[0, 100, 0, 0], [0, 0, 100, 0]], atol=1e-12)


def test_columns_and_what_is_too_flat():
    image, labels = volume(3, (7, 40, 44))
    table = measure(np.stack([image, image]), labels, ("A", "B"), ["granularity"])
    assert table.column_names[1:] == [f"Nuclei_Granularity_{i}_{c}" for c in "AB" for i in range(1, 17)]
    assert np.isnan(table["Nuclei_Granularity_1_A"].to_numpy()).all()
    assert measure(image, labels * 0, families=["granularity"]).num_rows == 0


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float16, np.float32, np.float64])
def test_any_type_of_pixels(kind):
    image, labels = volume(6, (16, 40, 44))
    bright = image > np.median(image)
    pixels = np.where(bright, np.iinfo(kind).max if kind is np.uint8 else 1, 0).astype(kind)
    expected = spectrum(bright.astype(float), labels, subsample=0.5, radius=2, length=3)
    np.testing.assert_allclose(spectrum(pixels, labels, subsample=0.5, radius=2, length=3), expected, atol=1e-9)


def test_the_same_for_any_number_of_threads_and_in_any_numbering():
    image, labels = volume(4, (24, 40, 44))
    once = measure(image, labels, families=["granularity"])
    again = measure(image, labels * 3, families=["granularity"], threads=3)
    for name in once.column_names[1:]:
        np.testing.assert_array_equal(once[name], again[name], err_msg=name)


def test_the_background_is_a_choice_of_volumes_only():
    image, labels = volume(5, (8, 40, 44))
    settings = MeasureSettings(families=("granularity",), parameters={"granularity": {"background": "whole"}})
    with pytest.raises(RecipeError, match="background"):
        measure(image[0], labels[0], settings=settings)
