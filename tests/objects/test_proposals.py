"""Proposals: the forest against the watershed at every depth, and the best cut against all others."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from phenostream.objects.basins import basins
from phenostream.objects.facts import FACTS
from phenostream.objects.proposals import Proposals, cut, propose

DIAMETER = 10.0


def hills(seed, shape=(70, 80), width=3):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), width)
    return ((field - field.min()) / np.ptp(field)).astype(np.float32)


def scene(seed):
    """Maps of a made-up network: depths are hills, and the probability knows where they are high."""
    depth = hills(seed)
    return np.stack([np.where(depth > 0.4, 0.9, 0.1), depth, np.zeros_like(depth)]).astype(np.float32)


def members(proposals, node):
    """The fragments of a node."""
    leaves = len(proposals.facts) - len(proposals.children)
    if node < leaves:
        return {node}
    return set().union(*(members(proposals, child) for child in proposals.children[node - leaves]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("depth", [0.05, 0.1, 0.2, 0.4])
def test_the_forest_at_one_depth_is_the_watershed(seed, depth):
    maps = scene(seed)
    proposals = propose(maps, maps[1], DIAMETER)
    born, gone = (
        proposals.facts[:, FACTS.index(f"persistence at which it {what}")]
        for what in ("comes to be", "joins the next, 1 if never")
    )
    found = np.zeros(proposals.fragments.shape, int)
    for node in np.flatnonzero((born < depth) & (gone >= depth)):
        found[np.isin(proposals.fragments - 1, list(members(proposals, node)))] = node + 1
    energy = ndimage.gaussian_filter(maps[1], 0.04 * DIAMETER)
    expected = basins(energy, proposals.fragments > 0, depth)
    # Pixels touch with their corners there, with their sides here: a saddle may be a little higher there.
    pairs, count = np.unique(np.stack([found, expected])[:, found > 0], axis=1, return_counts=True)
    assert abs(len(np.unique(found)) - len(np.unique(expected))) <= 1
    assert sum(count[pairs[0] == one].max() for one in np.unique(pairs[0])) > 0.9 * count.sum()


@pytest.mark.parametrize("seed", range(6))
def test_no_cut_is_worth_more(seed):
    rng = np.random.default_rng(seed)
    children = np.array([(0, 1), (5, 2), (3, 4), (6, 7)])
    fragments = np.arange(6, dtype=np.int32).reshape(2, 3)
    proposals = Proposals(fragments, children, np.zeros((9, len(FACTS))))
    worth = rng.normal(size=9)
    sets = [members(proposals, node) for node in range(9)]
    best = 0.0
    for size in range(1, 6):
        for chosen in itertools.combinations(range(9), size):
            if sum(len(sets[one]) for one in chosen) == len(set().union(*(sets[one] for one in chosen))):
                best = max(best, worth[list(chosen)].sum())
    labels = cut(proposals, worth)
    taken = [
        next(node for node in range(9) if sets[node] == set((fragments[labels == one] - 1).tolist()))
        for one in np.unique(labels[labels > 0])
    ]
    assert worth[taken].sum() == pytest.approx(best)
    assert labels[0, 0] == 0


def test_what_is_worth_nothing_is_not_taken():
    maps = scene(0)
    proposals = propose(maps, maps[1], DIAMETER)
    assert not cut(proposals, np.zeros(len(proposals.facts))).any()
    gone = proposals.facts[:, FACTS.index("persistence at which it joins the next, 1 if never")]
    whole = cut(proposals, np.where(gone == 1, 1.0, -1.0))
    parts, corners = ndimage.label(whole > 0)[1], ndimage.label(whole > 0, np.ones((3, 3)))[1]
    assert corners <= len(np.unique(whole)) - 1 <= parts


def test_faint_parts_are_proposed_but_bright_ones_do_not_grow():
    maps = np.zeros((3, 40, 60), np.float32)
    maps[:2, 8:22, 8:22] = 0.4
    maps[:2, 10:20, 10:20] = 0.9
    maps[:2, 10:20, 40:50] = 0.4
    found = propose(maps, maps[0], DIAMETER).fragments
    assert set(np.unique(found)) == {0, 1, 2}
    assert not found[8, 8:22].any()
    assert (found[10:20, 40:50] > 0).all()


def test_nothing_is_proposed_where_there_is_nothing():
    maps = np.zeros((3, 9, 11), np.float32)
    proposals = propose(maps, maps[0], DIAMETER)
    assert proposals.facts.shape == (0, len(FACTS))
    assert cut(proposals, np.zeros(0)).shape == (9, 11)
