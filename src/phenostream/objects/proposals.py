"""What could be an object: fragments of a depth map, and their unions in the order in which they would join.

Fragments are the catchments of all maxima worth the name. Joined in the order of how little parts them (the persistence
of the lower maximum, as in :mod:`phenostream.objects.basins`), they form trees whose nodes are the proposals. Which are
objects is for somebody else to judge (:mod:`phenostream.objects.judge`) by what is known of each
(:mod:`phenostream.objects.facts`); the best of those judged are cut out here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage

from phenostream.objects.basins import basins
from phenostream.objects.facts import Planes, borders, facts, known
from phenostream.objects.labels import relabel
from phenostream.objects.level import fill_holes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Image = NDArray[np.float32]
    Labels = NDArray[np.int32]

_HOLE = 0.1  # largest hole that is filled, in squared diameters
_SMOOTH = 0.04  # deviation of the Gaussian over the energy, in diameters
_CONTACT = 0.5  # how much of the contact map is taken off the depth map
_FINEST = 0.03  # least persistence of a maximum
_FOREGROUND, _FAINT = 0.5, 0.3  # probabilities: of pixels in objects, and of those in objects that are faint throughout


class Proposals(NamedTuple):
    """A forest of proposals; children come before their parents.

    Attributes:
        fragments: (Y, X) int32, 0 is background; fragment n is node n - 1.
        children: (N - leaves, 2), the two nodes that each further node joins.
        facts: (N, F), what is known of each node, in the order of :data:`phenostream.objects.facts.FACTS`.
    """

    fragments: Labels
    children: Indices
    facts: Floats


def propose(maps: NDArray[Any], image: Image, diameter: float) -> Proposals:
    """All proposals of one image.

    Args:
        maps: (3, Y, X), 0 to 1: probability, depth and contact as of :func:`phenostream.objects.instances.instances`.
        image: (Y, X), intensities with their range stretched to 0 to 1.
        diameter: typical diameter of the objects in pixels.
    """
    probability, depth, contact = np.asarray(maps, np.float32)
    inside = fill_holes(_inside(probability), _HOLE * diameter**2)
    energy = contact * -_CONTACT
    energy += 1
    energy *= depth
    ndimage.gaussian_filter(energy, _SMOOTH * diameter, output=energy)
    fragments = relabel(basins(energy, inside, _FINEST))
    planes = Planes(probability, depth, contact, energy, image)
    leaves = known(fragments, planes)
    between = borders(fragments, planes)
    children, persistence = _forest(between.pairs, between.saddles, leaves.peaks)
    return Proposals(fragments, children, facts(leaves, children, persistence, between, diameter, image.size))


def cut(proposals: Proposals, worth: Floats) -> Labels:
    """The disjoint proposals of the greatest total `worth` (N,): (Y, X) int32 with gaps.

    Nothing is taken that is worth nothing. Of a union that is worth as much as its parts, the union is taken.
    """
    leaves = len(worth) - len(proposals.children)
    best, taken = np.maximum(worth, 0), worth > 0
    for node, (one, other) in enumerate(proposals.children, leaves):
        apart = best[one] + best[other]
        taken[node] = worth[node] > 0 and worth[node] >= apart
        best[node] = max(best[node], apart)
    owner = np.where(taken, np.arange(1, len(worth) + 1), 0)
    for node in range(len(worth) - 1, leaves - 1, -1):
        if owner[node]:
            owner[proposals.children[node - leaves]] = owner[node]
    return np.concatenate([[0], owner[:leaves]]).astype(np.int32)[proposals.fragments]


def _inside(probability: Image) -> NDArray[np.bool_]:
    """What is likely to lie in objects, and parts that are faint throughout."""
    parts, count = ndimage.label(probability > _FAINT, np.ones((3, 3)))
    sure = probability > _FOREGROUND
    faint = np.ones(count + 1, np.bool_)
    faint[parts[sure]] = False
    faint[0] = False
    return np.asarray(sure | faint[parts], np.bool_)


def _forest(pairs: Indices, saddles: Floats, peaks: Floats) -> tuple[Indices, Floats]:
    """The two nodes that each further node joins, and at which persistence: the least first."""
    links = _links(pairs, saddles, peaks)
    root, children = list(range(len(peaks) + len(links))), []
    for node, (_, pair) in enumerate(links, len(peaks)):
        one, other = (_root(root, int(leaf)) for leaf in pairs[pair])
        root[one] = root[other] = node
        children.append((one, other))
    return np.array(children, np.int64).reshape(-1, 2), np.array([link for link, _ in links], np.float64)


def _links(pairs: Indices, saddles: Floats, peaks: Floats) -> list[tuple[float, int]]:
    """Persistence and number of the pairs of leaves over which everything that touches joins, the least first.

    Water falls from the highest saddle on: where two pools meet, the lower peak persists down to there.
    """
    root, highest, links = list(range(len(peaks))), peaks.tolist(), []
    for pair in np.argsort(-saddles, kind="stable"):
        one, other = (_root(root, int(leaf)) for leaf in pairs[pair])
        if one != other:
            links.append((float(min(highest[one], highest[other]) - saddles[pair]), int(pair)))
            root[other], highest[one] = one, max(highest[one], highest[other])
    return sorted(links)


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node
