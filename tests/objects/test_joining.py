"""Joining fragments: features against their definitions, order, and the learnt rule."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import regionprops

from phenostream.objects.joining import FEATURES, RULE, Pairs, Rule, join


def disc(*centres, radius=9, shape=(40, 60)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.max([np.hypot(y - cy, x - cx) < radius for cy, cx in centres], axis=0)


def joined(fragments, bright, rule=RULE, size=18.0):
    bright = bright.astype(np.float32)
    depth = np.minimum(bright, 9)
    return join(
        fragments.astype(np.int32), bright.astype(np.float32), bright.astype(np.float32), depth, size, rule=rule
    )


def test_a_disc_cut_in_two_is_joined():
    mask = disc((20, 20))
    fragments = mask * np.where(np.arange(60) < 20, 1, 2)
    assert np.array_equal(joined(fragments, 10.0 * mask) > 0, mask)
    assert joined(fragments, 10.0 * mask).max() == 1


def test_two_discs_stay_two():
    mask = disc((20, 20), (20, 37))
    fragments = mask * np.where(np.arange(60) < 28.5, 1, 2)
    light = np.where(np.abs(np.arange(60) - 28.5) < 2, 6.0, 10.0) * mask
    assert joined(fragments, light).max() == 2


def test_features_are_what_they_say():
    mask = disc((20, 20), (20, 34))
    fragments = (mask * np.where(np.arange(60) < 27, 1, 2)).astype(np.int32)
    light = np.random.default_rng(0).uniform(1, 10, mask.shape) * mask
    seen = []

    def look(pairs: Pairs):
        seen.append(pairs.features())
        return np.full(pairs.one.size, -1.0)

    joined(fragments, light, rule=look)
    (row,) = seen[0]
    (whole,) = regionprops(mask.astype(int))
    one, two = regionprops(fragments)
    columns = np.minimum(light[:, 26], light[:, 27])[mask[:, 26] & mask[:, 27]]
    fit = whole.area / (np.pi / 4 * whole.axis_major_length * whole.axis_minor_length)
    assert len(row) == len(FEATURES)
    means = light[fragments == 1].mean(), light[fragments == 2].mean()
    assert row[0] == pytest.approx(columns.mean() / min(means), rel=1e-5)
    assert row[2] == pytest.approx(fit, rel=4e-3)  # skimage counts pixels as points
    assert row[4] == pytest.approx(np.log(whole.area / (np.pi * 81)), rel=1e-5)
    assert row[5] == pytest.approx(np.sqrt(min(one.area, two.area) / max(one.area, two.area)), rel=1e-5)


def test_the_best_pair_goes_first_and_is_seen_as_one():
    fragments = np.repeat([[1] * 5 + [2] * 5 + [3] * 5], 8, axis=0)
    calls = []

    def judge(pairs: Pairs):
        calls.append(list(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True)))
        return np.where(pairs.other == 3, 2.0, 1.0) if len(calls) == 1 else np.full(pairs.one.size, -1.0)

    labels = joined(fragments, np.ones(fragments.shape), rule=judge)
    assert calls == [[(1, 2), (2, 3)], [(1, 2)]]
    assert labels[0].tolist() == [1] * 5 + [2] * 10


def test_joining_does_not_depend_on_brightness_units():
    mask = disc((20, 20), (20, 34))
    fragments = mask * np.where(np.arange(60) < 27, 1, 2)
    assert np.array_equal(joined(fragments, 10.0 * mask), joined(fragments, 40.0 * mask))


def test_nothing_to_join():
    empty = np.zeros((5, 5))
    assert not joined(empty, empty).any()
    always = Rule(1.0, (0.0,) * len(FEATURES))
    assert joined(np.eye(5), np.eye(5), rule=always).max() == 1
