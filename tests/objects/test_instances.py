"""Objects from maps that are known, and the scale at which a network is asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from phenostream.objects.facts import FACTS
from phenostream.objects.instances import Rule, instances, typical_diameter
from phenostream.objects.judge import Judge
from phenostream.objects.resample import resample
from phenostream.objects.trained import WORKING, averaged, label_with, shape_at, stretched
from phenostream.testing.segmenters import best_overlaps, nuclei


def maps_of(labels):
    """What a perfect network says of `labels`."""
    depth = np.zeros(labels.shape, np.float32)
    for label in range(1, labels.max() + 1):
        inside = labels == label
        distance = ndimage.distance_transform_edt(inside)
        depth[inside] = (distance / distance.max())[inside]
    return np.stack([labels > 0, depth, np.zeros(labels.shape)]).astype(np.float32)


def touching(side=64):
    y, x = np.mgrid[:side, : 2 * side]
    one, two = np.hypot(y - side / 2, x - 0.6 * side) < 0.3 * side, np.hypot(y - side / 2, x - 1.15 * side) < 0.3 * side
    nearer = np.hypot(y - side / 2, x - 0.6 * side) < np.hypot(y - side / 2, x - 1.15 * side)
    return np.where(one & nearer, 1, np.where(two & ~nearer, 2, 0)).astype(np.int32)


def test_touching_objects_part():
    truth = touching()
    found = instances(maps_of(truth), 38)
    assert np.unique(found).size == 3
    assert (best_overlaps(truth, found) > 0.97).all()


def test_a_shallow_saddle_is_none():
    truth = touching()
    assert np.unique(instances(maps_of(truth), 38, Rule(saddle=0.99))).size == 2


def test_contact_parts_what_depth_does_not():
    maps = np.zeros((3, 20, 40), np.float32)
    maps[0, 5:15, 5:35], maps[1, 5:15, 5:35] = 1, 0.8
    whole = instances(maps, 14)
    maps[2, :, 19:21] = 1
    assert np.unique(whole).size == 2
    assert np.unique(instances(maps, 14)).size == 3


def test_small_and_unsure_objects_go():
    truth = np.zeros((60, 60), np.int32)
    truth[5:25, 5:25], truth[40:42, 40:42] = 1, 2
    maps = maps_of(truth)
    assert np.unique(instances(maps, 20, Rule(least=0.05))).size == 2
    assert np.unique(instances(maps, 20, Rule(least=0.001))).size == 3
    maps[0] *= 0.7
    assert not instances(maps, 20, Rule(least=0.001, sure=0.77)).any()


def test_small_holes_are_filled():
    maps = maps_of(touching())
    maps[0, 30:33, 36:39] = 0
    assert (instances(maps, 38)[30:33, 36:39] > 0).all()


def test_typical_diameter():
    y, x = np.mgrid[:50, :50]
    disc = (np.hypot(y - 25, x - 25) < 15).astype(np.int32)
    assert typical_diameter(disc) == pytest.approx(30, rel=0.01)
    assert typical_diameter(np.zeros((4, 4), np.int32)) is None
    assert typical_diameter(7 * disc) == typical_diameter(disc)


def test_stretched():
    image = np.arange(1001).reshape(7, 143)
    assert stretched(image).min() == pytest.approx((0 - 10) / 988)
    assert np.allclose(stretched(image), stretched(3.0 * image - 50), atol=1e-6)
    assert stretched(np.full((3, 3), 9)) is None
    assert stretched(np.zeros((0, 3))) is None
    one = np.zeros((50, 50), np.uint8)
    one[3, 3] = 200
    assert stretched(one).max() == 1  # the percentiles are equal, the range is not


@pytest.mark.parametrize("diameter", [9, 22, 60])
def test_the_network_is_shown_one_scale(diameter):
    scene = nuclei(3, count=12, diameter=diameter, shape=(8 * diameter, 9 * diameter))
    shown = []

    def predict(image):
        shown.append(image.shape)
        return np.stack([resample(one, image.shape) for one in maps_of(scene.labels)])

    found = label_with(predict, scene.image, diameter)
    assert shown == [shape_at(scene.image.shape, WORKING / diameter)]
    assert (best_overlaps(scene.labels, found) > 0.8).all()


def test_a_wrong_first_look_is_corrected():
    scene, true = nuclei(5, count=10, diameter=40, shape=(400, 400)), nuclei(6, count=60, diameter=14, shape=(400, 400))
    factors = []

    def predict(image):
        factors.append(image.shape[0] / 400)
        return np.stack([resample(one, image.shape) for one in maps_of(true.labels)])

    label_with(predict, scene.image)
    assert len(factors) == 2
    assert factors[0] == pytest.approx(WORKING / 40, rel=0.2)
    assert factors[1] == pytest.approx(WORKING / typical_diameter(true.labels), rel=0.2)


def test_images_are_enlarged_and_shrunk_within_reason():
    assert shape_at((100, 200), 10) == (300, 600)
    assert shape_at((1000, 2000), 1e-6) == (16, 32)
    assert shape_at((1, 50), 0.1) == (3, 150)


def test_views_are_mirrored_there_and_back():
    image = np.random.default_rng(0).random((4, 5), dtype=np.float32)
    seen = []

    def predict(plane):
        seen.append(plane)
        return np.stack([plane, np.arange(20, dtype=np.float32).reshape(4, 5), plane])

    for views in (1, 2, 4):
        seen.clear()
        maps = averaged(predict, views)(image)
        assert len({one.tobytes() for one in seen}) == len(seen) == views
        assert np.allclose(maps[0], image)
    assert np.allclose(maps[1], 9.5)  # a ramp over all mirror images is flat


def liking(fact, limit, sign):
    """A judge to whom an object is what has less (1) or more (-1) than `limit` of `fact`."""
    hidden = np.zeros((1, 1, len(FACTS)))
    hidden[0, 0, FACTS.index(fact)] = sign
    middle = np.full(len(FACTS), limit - sign * 3.5)
    return Judge(middle, np.ones(len(FACTS)), hidden, np.zeros((1, 1)), np.full((1, 1), -20.0), np.array([70.0]))


def test_a_judge_decides_what_is_joined():
    pair = touching()

    def predict(image):
        return np.stack([resample(one, image.shape) for one in maps_of(pair)])

    image = np.where(pair > 0, 200, 10)
    size = "logarithm of the area over that of a disc of the typical diameter"
    assert np.unique(label_with(predict, image, 38, judge=liking(size, 0.3, -1))).size == 2
    assert np.unique(label_with(predict, image, 38, judge=liking(size, 0.3, 1))).size == 3
    assert not label_with(predict, image, 38, judge=liking(size, -3, 1)).any()
