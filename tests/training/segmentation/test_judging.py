"""Learning which proposals are objects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("torch")

from phenostream.objects.facts import FACTS
from phenostream.objects.proposals import propose
from phenostream.training.segmentation.judging import learn, overlaps


def test_overlaps_are_those_of_pixels():
    rng = np.random.default_rng(0)
    depth = ndimage.gaussian_filter(rng.random((50, 60)), 3)
    depth = (depth - depth.min()) / np.ptp(depth)
    maps = np.stack([depth > 0.4, depth, np.zeros_like(depth)]).astype(np.float32)
    proposals = propose(maps, maps[1], 9)
    truth = ndimage.label(depth > 0.55)[0].astype(np.int32)
    found = overlaps(proposals, truth)
    leaves = len(proposals.facts) - len(proposals.children)
    pixels = [proposals.fragments == leaf + 1 for leaf in range(leaves)]
    for one, other in proposals.children:
        pixels.append(pixels[one] | pixels[other])
    expected = [
        max((inside & (truth == one)).sum() / (inside | (truth == one)).sum() for one in range(1, truth.max() + 1))
        for inside in pixels
    ]
    assert np.allclose(found, expected)
    assert not overlaps(proposals, np.zeros_like(truth)).any()


def test_a_judge_learns_what_is_to_be_learnt():
    rng = np.random.default_rng(1)
    facts = [rng.normal(size=(int(count), len(FACTS))) for count in rng.integers(40, 80, 80)]
    truth = [1 / (1 + np.exp(-(3 * one[:, 4] - 2 * np.abs(one[:, 0])))) for one in facts]
    found = [np.where(rng.random(len(one)) < one, 0.8, 0.2) for one in truth]
    judge = learn(facts[:70], found[:70])
    given, wanted = np.concatenate(facts[70:]), np.concatenate(truth[70:])
    assert np.abs(judge(given) - wanted).mean() < 0.12
    again = learn(facts[:70], found[:70])
    assert np.array_equal(judge(given), again(given))
