"""Every number in three dimensions against scikit-image, SciPy and cp_measure, on random and on real volumes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cp_measure.core.measureobjectintensity import get_intensity
from cp_measure.core.measureobjectsizeshape import get_sizeshape
from cp_measure.core.measuretexture import get_texture
from scipy import ndimage
from skimage.measure import euler_number

from phenostream.errors import RecipeError, WrongShapeError
from phenostream.features import MeasureSettings, measure


def volume(seed, shape=(18, 40, 44)):
    """Touching, concave, border and single-voxel objects, and their light."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (1.5, 3, 3))
    labels = ndimage.label(blobs > np.quantile(blobs, 0.8))[0].astype(np.int32)
    labels[:, :, 22:][labels[:, :, 22:] > 0] += labels.max()
    labels[9, 20, 21] = labels.max() + 1
    numbers = np.unique(labels)
    labels = np.searchsorted(numbers, labels).astype(np.int32)
    light = ndimage.gaussian_filter(rng.random(shape), 1)
    light = (light - light.min()) / (light.max() - light.min())
    return (light * 60000).astype(np.uint16), labels


def column(table, name):
    return table.column(f"Nuclei_{name}").to_numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_size_and_shape(seed):
    image, labels = volume(seed)
    table = measure(image, labels, families=["size_shape"])
    with warnings.catch_warnings(action="ignore"):  # it cannot say how solid flat objects are
        witness = get_sizeshape(labels, image / 65535)
    for name, expected in witness.items():
        if f"Nuclei_AreaShape_{name}" in table.column_names:
            known = np.isfinite(expected)
            found = column(table, f"AreaShape_{name}")
            np.testing.assert_allclose(found[known], expected[known], rtol=1e-6, atol=1e-6, err_msg=name)
            assert known.mean() > (0.3 if name == "Solidity" else 0.99)
    compared = {name for name in witness if f"Nuclei_AreaShape_{name}" in table.column_names}
    assert len(compared) == 18
    own = [euler_number(np.pad(labels == k, 1), 3) for k in range(1, labels.max() + 1)]
    np.testing.assert_array_equal(column(table, "AreaShape_EulerNumber"), own)


@pytest.mark.parametrize("seed", [0, 1])
def test_intensity(seed):
    image, labels = volume(seed)
    table = measure(
        image, labels, settings=MeasureSettings(families=("intensity",), parameters={"intensity": {"location": True}})
    )
    witness = get_intensity(labels, image / 65535, legacy=True)
    assert len(witness) == 21
    for name, expected in witness.items():
        found = column(table, f"{name}_DNA")
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_median_deviation_is_one_where_asked():
    image, labels = volume(3)
    settings = MeasureSettings(families=("intensity",), parameters={"intensity": {"quantiles": "numpy"}})
    found = column(measure(image, labels, settings=settings), "Intensity_MADIntensity_DNA")
    values = image.astype(np.float32) / np.float32(65535)
    own = [values[labels == k].astype(float) for k in range(1, labels.max() + 1)]
    np.testing.assert_allclose(found, [np.median(abs(each - np.median(each))) for each in own], atol=1e-12)


@pytest.mark.parametrize("scale", [1, 3])
def test_texture(scale):
    image, labels = volume(4)
    settings = MeasureSettings(families=("texture",), parameters={"texture": {"scales": [scale]}})
    table = measure(image, labels, settings=settings)
    witness = get_texture(labels, image / 65535, scale=scale)
    assert len(witness) == 13 * 13
    for name, expected in witness.items():
        base, *place = name.rsplit("_", 3)
        found = column(table, "_".join(["Texture", base, "DNA", *place]))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9, err_msg=name)


def test_the_same_for_any_number_of_threads_and_in_any_numbering():
    image, labels = volume(5, (12, 90, 90))
    once, again = measure(image, labels), measure(image, labels * 7, threads=3)
    for name in once.column_names[1:]:
        np.testing.assert_array_equal(once[name], again[name], err_msg=name)
    assert again["ObjectNumber"].to_pylist() == [7 * k for k in once["ObjectNumber"].to_pylist()]


def test_channels_and_their_pairs():
    image, labels = volume(6)
    other = np.flip(image, 2)
    table = measure(np.stack([image, other]), labels, ("A", "B"), ["colocalization"])
    large = np.flatnonzero(np.bincount(labels.ravel())[1:] > 2)
    expected = [np.corrcoef(image[labels == k + 1], other[labels == k + 1])[0, 1] for k in large]
    np.testing.assert_allclose(column(table, "Correlation_Correlation_A_B")[large], expected, rtol=1e-9)


def test_a_flat_object_is_as_solid_as_its_outline():
    labels = np.zeros((3, 6, 6), np.int32)
    labels[1, 1:5, 1:5], labels[1, 3:5, 3:5] = 1, 0
    found = column(measure(np.ones(labels.shape, np.uint8), labels, families=["size_shape"]), "AreaShape_Solidity")
    assert found == [12 / 13]  # of the corner, the hull holds the one voxel next to the middle


def test_what_is_flat_is_said_to_be():
    image, labels = volume(7)
    with pytest.raises(RecipeError, match="zernike is measured in two dimensions only"):
        measure(image, labels, families=["zernike"])
    with pytest.raises(WrongShapeError, match="same field"):
        measure(image[:5], labels)


def test_real_nuclei(data):
    import tifffile

    image = tifffile.imread(data / "shapes3d/nuclei3d/stardist_img3d.tif")
    labels = tifffile.imread(data / "shapes3d/nuclei3d/stardist_mask3d.tif").astype(np.int32)
    table = measure(image, labels)
    witness = get_sizeshape(np.searchsorted(np.unique(labels), labels).astype(np.int32), image / 65535)
    assert table.num_rows == 51
    for name in ("Volume", "SurfaceArea", "Solidity", "MajorAxisLength"):
        np.testing.assert_allclose(column(table, f"AreaShape_{name}"), witness[name], rtol=1e-6, err_msg=name)
