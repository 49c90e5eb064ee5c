"""What is known of proposals for objects: size, shape, what a network says of their pixels, light, what parts them.

All facts are relative, to the typical object or to another part of the same one: none changes with the magnification
or with the light. Needed are sums, extremes and borders of fragments; those of their unions follow without another look
at a pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Image = NDArray[np.float32]
    Labels = NDArray[np.int32]

FACTS = (
    "logarithm of the area over that of a disc of the typical diameter",
    "logarithm of the area over the median area of the image's usual proposals",
    "mean probability",
    "greatest probability",
    "mean depth",
    "greatest energy",
    "mean contact",
    "area over that of the ellipse with its moments",
    "shorter over longer axis of that ellipse",
    "pixels on the image's border over the root of the area",
    "pixels beside the background over the root of the area",
    "length shared with other proposals over the root of the area",
    "mean probability beside the background",
    "mean brightness beside the background over the mean brightness",
    "logarithm of the mean brightness over the median of the usual proposals",
    "deviation of the brightness over its mean",
    "persistence at which it comes to be",
    "persistence at which it joins the next, 1 if never",
    *(
        f"of {which}: {what}"
        for which, last in (
            ("its own joining", "smaller over larger area"),
            ("the next joining", "its share of the area"),
        )
        for what in (
            "length over the root of the smaller area",
            "mean energy of the border over the lower peak",
            "mean contact of the border",
            "mean brightness of the border over that of the fainter part",
            last,
        )
    ),
    "logarithm of one more than the number of usual proposals",
    "share of the image in objects",
)

_USUAL = 0.15  # persistence at which fragments are most often whole objects
_SIZED = 0.1  # least area of what tells of sizes, as a share of a disc of the typical diameter
_DIM = 0.02  # brightness below which nothing is divided by it
_TINY = 1e-6


class Planes(NamedTuple):
    """Images (Y, X) of one field: what a network says, the energy that is cut, and stretched intensities."""

    probability: Image
    depth: Image
    contact: Image
    energy: Image
    image: Image


class Sums(NamedTuple):
    """Sums over the pixels of proposals, each (N,); those with `edge` are over the pixels beside the background.

    `y` to `xy` are moments, `rim` counts pixels on the image's border.
    """

    area: Floats
    y: Floats
    x: Floats
    yy: Floats
    xx: Floats
    xy: Floats
    probability: Floats
    depth: Floats
    contact: Floats
    bright: Floats
    squares: Floats
    rim: Floats
    edge: Floats
    edge_probability: Floats
    edge_bright: Floats


class Known(NamedTuple):
    """Of fragments: sums, greatest energy and greatest probability, each (N,)."""

    sums: Sums
    peaks: Floats
    surest: Floats


class Borders(NamedTuple):
    """Between fragments that touch.

    Attributes:
        pairs: (P, 2), numbers of the two from 0, the lower first.
        sums: (P, 4), pixel pairs, and over them the sums of energy, contact and brightness.
        saddles: (P,), greatest energy.
    """

    pairs: Indices
    sums: Floats
    saddles: Floats


def known(fragments: Labels, planes: Planes) -> Known:
    """What is known of each of `fragments`, 1 to N."""
    count = int(fragments.max(initial=0))
    sums, most = np.zeros((count, len(Sums._fields))), np.zeros((count, 2))
    probability, depth, contact, energy, bright = (np.ascontiguousarray(plane) for plane in planes)
    _add(fragments, probability, depth, contact, energy, bright, sums, most)
    return Known(Sums(*sums.T), *most.T)


def borders(fragments: Labels, planes: Planes) -> Borders:
    """Where `fragments` touch with the sides of pixels; of two pixels the lower value counts."""
    count = int(fragments.max(initial=0))
    found = []
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = fragments[here], fragments[there]
        meet = np.nonzero((a != b) & (a > 0) & (b > 0))
        low, high = np.minimum(a[meet], b[meet]) - 1, np.maximum(a[meet], b[meet]) - 1
        seen = (planes.energy, planes.contact, planes.image)
        values = [np.minimum(plane[here][meet], plane[there][meet]) for plane in seen]
        found.append(np.stack([low.astype(np.int64) * count + high, np.ones(low.size), *values], axis=1))
    rows = np.concatenate(found).astype(np.float64)
    key, place = np.unique(rows[:, 0].astype(np.int64), return_inverse=True)
    sums = np.stack([np.bincount(place, row, key.size) for row in rows[:, 1:].T], axis=1).astype(np.float64)
    pairs = np.stack(np.divmod(key, max(count, 1)), axis=1)
    return Borders(pairs, sums, _greatest(place, rows[:, 2], key.size))


def facts(
    leaves: Known, children: Indices, persistence: Floats, between: Borders, diameter: float, pixels: int
) -> Floats:
    """What is known of each node of a forest of fragments: (N, 30) in the order of :data:`FACTS`.

    Args:
        leaves: the fragments.
        children: (M, 2), the two nodes that each further node joins, children first.
        persistence: (M,), at which they join.
        between: the borders of fragments.
        diameter: typical diameter of the objects in pixels.
        pixels: of the image.
    """
    sums, peaks, surest = _united(leaves, children)
    first, count = len(leaves.peaks), len(peaks)
    parent = np.full(count, -1)
    parent[children.ravel()] = np.repeat(np.arange(first, count), 2)
    joined = _joined(parent, between)
    born = np.concatenate([np.zeros(first), persistence])
    gone = np.where(parent >= 0, np.append(born, 0)[parent], 1.0)
    usual = (born < _USUAL) & (gone >= _USUAL)
    disc = np.pi / 4 * diameter**2
    root, bright, edge = np.sqrt(sums.area), sums.bright / sums.area, np.maximum(sums.edge, 1)
    sized = usual & (sums.area >= _SIZED * disc)
    area, light = (
        float(np.median(of[sized])) if sized.any() else other for of, other in ((sums.area, disc), (bright, 1))
    )
    lit = np.maximum(bright, _DIM)
    columns = (
        np.log(sums.area / disc),
        np.log(sums.area / area),
        sums.probability / sums.area,
        surest,
        sums.depth / sums.area,
        peaks,
        sums.contact / sums.area,
        *_ellipse(sums),
        sums.rim / root,
        sums.edge / root,
        _shared(children, between, joined) / root,
        sums.edge_probability / edge,
        sums.edge_bright / edge / lit,
        np.log(np.maximum(bright, _DIM / 2) / max(light, _DIM)),
        np.sqrt(np.maximum(sums.squares / sums.area - bright**2, 0)) / lit,
        born,
        gone,
        *_joinings(children, parent, joined, sums.area, peaks, lit),
        np.full(count, np.log1p(usual.sum())),
        np.full(count, leaves.sums.area.sum() / pixels),
    )
    return np.stack(columns, axis=1).astype(np.float64)


@kernel
def _add(  # noqa: PLR0913, PLR0917  (compiled code takes arrays, not objects)
    fragments: Labels, probability: Image, depth: Image, contact: Image, energy: Image, bright: Image,
    sums: Floats, most: Floats,
) -> None:  # fmt: skip
    """Add each pixel to what is known of its fragment; no array of the image's size is made."""
    last, end = fragments.shape[0] - 1, fragments.shape[1] - 1
    for y in range(last + 1):
        for x in range(end + 1):
            owner = fragments[y, x] - 1
            if owner < 0:
                continue
            here = sums[owner]
            here[0] += 1
            here[1] += y
            here[2] += x
            here[3] += y * y
            here[4] += x * x
            here[5] += y * x
            here[6] += probability[y, x]
            here[7] += depth[y, x]
            here[8] += contact[y, x]
            here[9] += bright[y, x]
            here[10] += bright[y, x] * bright[y, x]
            if y == 0 or x == 0 or y == last or x == end:
                here[11] += 1
            if (
                (y > 0 and fragments[y - 1, x] == 0)
                or (x > 0 and fragments[y, x - 1] == 0)
                or (y < last and fragments[y + 1, x] == 0)
                or (x < end and fragments[y, x + 1] == 0)
            ):
                here[12] += 1
                here[13] += probability[y, x]
                here[14] += bright[y, x]
            most[owner, 0] = max(most[owner, 0], energy[y, x])
            most[owner, 1] = max(most[owner, 1], probability[y, x])


def _greatest(owner: NDArray[np.integer], values: NDArray[np.floating], count: int) -> Floats:
    out = np.zeros(count)
    np.maximum.at(out, owner, values)
    return out


def _united(leaves: Known, children: Indices) -> tuple[Sums, Floats, Floats]:
    """Sums, greatest energies and probabilities of all nodes."""
    first = len(leaves.peaks)
    sums = np.pad(np.stack(leaves.sums, axis=1), ((0, len(children)), (0, 0)))
    most = np.pad(np.stack([leaves.peaks, leaves.surest], axis=1), ((0, len(children)), (0, 0)))
    for node, (one, other) in enumerate(children, first):
        sums[node] = sums[one] + sums[other]
        most[node] = np.maximum(most[one], most[other])
    return Sums(*sums.T), most[:, 0], most[:, 1]


def _joined(parent: Indices, between: Borders) -> Floats:
    """Sums of borders (N, 4) by the node in which the two fragments of each come together."""
    one, other = between.pairs.T
    while (apart := one != other).any():
        upward = np.where(apart, parent[np.minimum(one, other)], one)
        one, other = upward, np.where(apart, np.maximum(one, other), other)
    return np.stack([np.bincount(one, column, minlength=len(parent)) for column in between.sums.T], axis=1)


def _shared(children: Indices, between: Borders, joined: Floats) -> Floats:
    """Length (N,) of the border of each node with others."""
    length = np.bincount(between.pairs.ravel(), np.repeat(between.sums[:, 0], 2), minlength=len(joined))
    for node, (one, other) in enumerate(children, len(joined) - len(children)):
        length[node] = length[one] + length[other] - 2 * joined[node, 0]
    return np.asarray(length, np.float64)


def _joinings(
    children: Indices, parent: Indices, joined: Floats, area: Floats, peaks: Floats, lit: Floats
) -> tuple[Floats, ...]:
    """Five facts of the joining that made each node, and five of that which makes its parent; 0 where there is none."""
    first, count = len(parent) - len(children), len(parent)
    one, other = children.T
    length = np.maximum(joined[first:, 0], 1)
    smaller, larger = np.minimum(area[one], area[other]), np.maximum(area[one], area[other])
    own = np.zeros((count + 1, 5))  # the last is of those that have none
    own[first:count] = np.stack(
        [
            joined[first:, 0] / np.sqrt(smaller),
            joined[first:, 1] / length / np.maximum(np.minimum(peaks[one], peaks[other]), _TINY),
            joined[first:, 2] / length,
            joined[first:, 3] / length / np.minimum(lit[one], lit[other]),
            smaller / larger,
        ],
        axis=1,
    )
    share = np.where(parent >= 0, area / np.append(area, 1)[parent], 1)
    return (*own[:-1].T, *own[parent, :4].T, share)


def _ellipse(sums: Sums) -> tuple[Floats, Floats]:
    """Area over that of the ellipse of equal second moments, and its shorter over its longer axis."""
    y, x = sums.y / sums.area, sums.x / sums.area
    yy, xx = sums.yy / sums.area - y * y + 1 / 12, sums.xx / sums.area - x * x + 1 / 12
    xy = sums.xy / sums.area - y * x
    middle, spread = (yy + xx) / 2, np.sqrt((yy - xx) ** 2 / 4 + xy * xy)
    longer, shorter = middle + spread, np.maximum(middle - spread, _TINY)
    return sums.area / (4 * np.pi * np.sqrt(longer * shorter)), np.sqrt(shorter / longer)
