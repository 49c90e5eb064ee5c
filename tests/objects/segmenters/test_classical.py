"""The classical segmenter sits the exam, and is held against real nuclei."""

from __future__ import annotations

import io
import zipfile
from typing import ClassVar

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from scipy import ndimage
from skimage.transform import resize

from phenostream import objects, segment
from phenostream.testing.segmenters import Scene, SegmenterExam, best_overlaps, nuclei, scenes


class TestExam(SegmenterExam):
    settings: ClassVar = {"model": "classical"}


class TestExamWithDiameter(SegmenterExam):
    settings: ClassVar = {"model": "classical", "diameter": 21.5}


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_scenes_are_counted(scene: Scene):
    labels = segment(scene.image)
    areas = np.bincount(scene.labels.ravel())[1:]
    whole = areas > 0.5 * np.median(areas) if areas.size else np.zeros(0, bool)
    overlaps = best_overlaps(scene.labels, labels)
    assert np.count_nonzero(overlaps[whole] > 0.6) >= 0.85 * np.count_nonzero(whole) - 1
    assert labels.max() <= scene.labels.max() + 2


@settings(max_examples=15, deadline=None)
@given(scenes())
def test_offset_and_integer_scale_change_nothing_at_all(scene: Scene):
    first = segment(scene.image)
    assert np.array_equal(first, segment(scene.image.astype(np.uint16) * 257))
    assert np.array_equal(first, segment(scene.image.astype(np.int32) - 1000))


@pytest.mark.parametrize("diameter", [8, 12, 20, 30, 50, 80])
def test_magnifications(diameter):
    scene = nuclei(3, count=25, diameter=diameter, shape=(12 * diameter, 14 * diameter))
    overlaps = best_overlaps(scene.labels, segment(scene.image))
    assert np.mean(overlaps > 0.6) >= 0.9


def test_uneven_background_hides_nothing():
    scene = nuclei(4, count=30, shape=(300, 300))
    ramp = np.add.outer(np.arange(300) * 3.0, np.arange(300) * 2.0)
    bulge = 150 * np.exp(-((np.arange(300) - 150) ** 2)[:, None] / 4e4 - ((np.arange(300) - 90) ** 2) / 4e4)
    for background in (ramp, bulge):
        assert np.mean(best_overlaps(scene.labels, segment(scene.image + background)) > 0.6) >= 0.9


def test_dim_nuclei_in_noise_are_found():
    scene = nuclei(5, count=12, diameter=24, shape=(256, 256), base=100, height=30)  # 2 to 4 deviations of the noise
    assert np.mean(best_overlaps(scene.labels, segment(scene.image)) > 0.5) >= 0.9


@pytest.mark.parametrize("mean", [0.05, 0.3, 3, 50, 1000])
def test_noise_is_empty(mean):
    image = np.random.default_rng(0).poisson(mean, (512, 512)).astype(np.uint16)
    assert segment(image).max() <= 2


def test_hot_pixels_are_no_nuclei():
    rng = np.random.default_rng(0)
    image = rng.normal(1000, 20, (256, 256)).astype(np.uint16)
    image[rng.integers(0, 256, 30), rng.integers(0, 256, 30)] = 60000
    assert segment(image).max() == 0


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1), (1, 9), (2, 100), (5, 5)])
def test_the_smallest_images_pass(shape):
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    assert segment(image).shape == shape


def test_touching_nuclei_are_parted():
    y, x = np.mgrid[:80, :100]
    left, right = np.hypot(y - 40, x - 37) < 13, np.hypot(y - 40, x - 62) < 13
    image = ndimage.gaussian_filter(100.0 * (left | right), 1) + np.random.default_rng(0).normal(10, 1, left.shape)
    labels = segment(image)
    assert labels.max() == 2
    assert (best_overlaps(left + 2 * right, labels) > 0.85).all()


def test_a_ring_of_nuclei_keeps_its_middle_open():
    y, x = np.mgrid[:128, :128]
    ring = np.abs(np.hypot(y - 64, x - 64) - 30) < 7
    assert not segment(ndimage.gaussian_filter(ring * 100.0, 1), diameter=14)[60:68, 60:68].any()


def test_objects_at_the_edge_go_on_request():
    scene = nuclei(6, count=25)
    labels = segment(scene.image, options={"remove_edges": True})
    assert np.array_equal(labels, objects.remove_edge_objects(segment(scene.image)))
    assert not objects.touching_edge(labels).any()


def _real(data, count):
    with zipfile.ZipFile(data / "nuclei" / "dsb2018_train_part1.zip") as archive:
        names = sorted(name for name in archive.namelist() if "/images/" in name)[:count]
        for name in names:
            yield tuple(
                tifffile.imread(io.BytesIO(archive.read(path))) for path in (name, name.replace("images", "masks"))
            )


def _ap(truth, found):
    hits = np.count_nonzero(best_overlaps(truth, found) > 0.5)
    return hits / (len(np.unique(truth)) - 1 + found.max() - hits)


def test_real_nuclei(data):
    scores = [_ap(truth, segment(image)) for image, truth in _real(data, 40)]
    assert np.mean(scores) > 0.78


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.astype(np.uint16) * 257,
        lambda image: (image / 255).astype(np.float32),
        lambda image: np.rint(image * 0.35 + 60).astype(np.uint8),
        lambda image: image * 40.0 + np.add.outer(np.linspace(0, 2000, image.shape[0]), np.zeros(image.shape[1])),
    ],
    ids=["16 bit", "float", "compressed range", "ramp"],
)
def test_real_nuclei_in_other_shapes(data, change):
    pairs = list(_real(data, 12))
    plain = np.mean([_ap(truth, segment(image)) for image, truth in pairs])
    assert np.mean([_ap(truth, segment(change(image))) for image, truth in pairs]) > plain - 0.05


def test_real_nuclei_twice_as_large(data):
    pairs = list(_real(data, 12))
    plain = np.mean([_ap(truth, segment(image)) for image, truth in pairs])
    large = []
    for image, truth in pairs:
        size = (2 * image.shape[0], 2 * image.shape[1])
        large.append(
            _ap(
                np.kron(truth, np.ones((2, 2), truth.dtype)), segment(resize(image, size, order=1, preserve_range=True))
            )
        )
    assert np.mean(large) > plain - 0.05


def _png(path):
    return imagecodecs.png_decode(path.read_bytes()).astype(np.int32)


def test_nuclei_of_cellprofiler(data):
    """The nuclei that CellProfiler 4.0.6 found in its own example: nearly all are found again."""
    folder = data / "fields" / "examplehuman"
    truth = _png(folder / "nuclei_labels_recovered_even.png")
    labels = segment(tifffile.imread(folder / "AS_09125_050116030001_D03f00d0.tif"))
    overlaps = best_overlaps(truth, labels)
    assert np.mean(overlaps > 0.5) > 0.9
    assert np.median(overlaps) > 0.8
