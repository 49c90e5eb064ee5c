"""What is known of proposals, against scikit-image's region properties of the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

from phenostream.objects.facts import FACTS
from phenostream.objects.proposals import propose

DIAMETER = 9.0


@pytest.fixture(scope="module", params=range(3))
def found(request):
    """Proposals, their maps, the image, and the pixels of each node."""
    rng = np.random.default_rng(request.param)
    depth, contact, image = (ndimage.gaussian_filter(rng.random((60, 70)), 3) for _ in range(3))
    depth, contact, image = ((one - one.min()) / np.ptp(one) for one in (depth, contact, image))
    maps = np.stack([0.2 + 0.7 * (depth > 0.45), depth, contact]).astype(np.float32)
    proposals = propose(maps, image.astype(np.float32), DIAMETER)
    leaves = len(proposals.facts) - len(proposals.children)
    pixels = [proposals.fragments == leaf + 1 for leaf in range(leaves)]
    for one, other in proposals.children:
        pixels.append(pixels[one] | pixels[other])
    return proposals, maps, image, pixels


def fact(proposals, name):
    return proposals.facts[:, FACTS.index(name)]


def test_there_are_unions(found):
    assert len(found[0].children) > 5
    assert len(FACTS) == len(set(FACTS)) == found[0].facts.shape[1]
    assert np.isfinite(found[0].facts).all()


def test_size_and_shape(found):
    proposals, _, _, pixels = found
    regions = [regionprops(inside.astype(np.uint8))[0] for inside in pixels]
    area = np.array([one.area for one in regions])
    moments = np.array([one.inertia_tensor_eigvals for one in regions]) + 1 / 12  # pixels are squares, not points
    disc = "logarithm of the area over that of a disc of the typical diameter"
    assert np.allclose(fact(proposals, disc), np.log(area / (np.pi / 4 * DIAMETER**2)))
    thick = moments[:, 1] > 0.5
    axes = np.sqrt(moments[:, 1] / moments[:, 0])
    assert np.allclose(fact(proposals, "shorter over longer axis of that ellipse")[thick], axes[thick])
    full = area / (4 * np.pi * np.sqrt(moments.prod(axis=1)))
    assert np.allclose(fact(proposals, "area over that of the ellipse with its moments")[thick], full[thick])


def test_means_and_extremes(found):
    proposals, maps, image, pixels = found
    for name, plane in (("probability", maps[0]), ("depth", maps[1]), ("contact", maps[2])):
        assert np.allclose(fact(proposals, f"mean {name}"), [plane[inside].mean() for inside in pixels], rtol=1e-4)
    assert np.allclose(fact(proposals, "greatest probability"), [maps[0][inside].max() for inside in pixels])
    spread = [image[inside].std() / image[inside].mean() for inside in pixels]
    assert np.allclose(fact(proposals, "deviation of the brightness over its mean"), spread, atol=1e-3)


def test_edges(found):
    proposals, maps, _, pixels = found
    outside = proposals.fragments == 0
    cross = ndimage.generate_binary_structure(2, 1)
    beside = ndimage.binary_dilation(outside, cross) & ~outside
    area = np.sqrt([inside.sum() for inside in pixels])
    edge = [(inside & beside).sum() for inside in pixels] / area
    assert np.allclose(fact(proposals, "pixels beside the background over the root of the area"), edge)
    rim = np.ones(outside.shape, bool)
    rim[1:-1, 1:-1] = False
    on = [(inside & rim).sum() for inside in pixels] / area
    assert np.allclose(fact(proposals, "pixels on the image's border over the root of the area"), on)
    sure = [maps[0][inside & beside].mean() if (inside & beside).any() else 0 for inside in pixels]
    assert np.allclose(fact(proposals, "mean probability beside the background"), sure, rtol=1e-4)


def test_borders(found):
    proposals, maps, _, pixels = found

    def shared(one, other):
        """Pixel pairs, and the mean over them of the lower contact."""
        pairs = [
            (one[a] & other[b], a, b)
            for a, b in (
                (np.s_[1:], np.s_[:-1]),
                (np.s_[:-1], np.s_[1:]),
                (np.s_[:, 1:], np.s_[:, :-1]),
                (np.s_[:, :-1], np.s_[:, 1:]),
            )
        ]
        values = np.concatenate([np.minimum(maps[2][a], maps[2][b])[meet] for meet, a, b in pairs])
        return values.size, values.mean() if values.size else 0

    leaves = len(pixels) - len(proposals.children)
    everything = proposals.fragments > 0
    length = [shared(inside, everything & ~inside)[0] / np.sqrt(inside.sum()) for inside in pixels]
    assert np.allclose(fact(proposals, "length shared with other proposals over the root of the area"), length)
    for node, (one, other) in enumerate(proposals.children, leaves):
        count, contact = shared(pixels[one], pixels[other])
        small, large = sorted((pixels[one].sum(), pixels[other].sum()))
        own = {
            what: fact(proposals, f"of its own joining: {what}")[node]
            for what in (
                "length over the root of the smaller area",
                "mean contact of the border",
                "smaller over larger area",
            )
        }
        assert list(own.values()) == pytest.approx([count / np.sqrt(small), contact, small / large], rel=1e-4)
        following = fact(proposals, "of the next joining: mean contact of the border")
        assert following[[one, other]] == pytest.approx([contact, contact], rel=1e-4)
        assert fact(proposals, "of the next joining: its share of the area")[one] == pytest.approx(
            pixels[one].sum() / (small + large)
        )


def test_magnification_does_not_change_them():
    rng = np.random.default_rng(7)
    depth, image = (ndimage.gaussian_filter(rng.random((40, 50)), 4) for _ in range(2))
    depth, image = ((one - one.min()) / np.ptp(one) for one in (depth, image))
    maps = np.stack([depth > 0.45, depth, np.zeros_like(depth)]).astype(np.float32)
    plain = propose(maps, image.astype(np.float32), DIAMETER)
    twice = propose(np.kron(maps, np.ones((1, 2, 2))), np.kron(image, np.ones((2, 2))).astype(np.float32), 2 * DIAMETER)
    roots = [one.facts[fact(one, "persistence at which it joins the next, 1 if never") == 1] for one in (plain, twice)]
    large = [one[one[:, 0] > -1] for one in roots]
    assert len(large[0]) == len(large[1]) > 0
    for name in ("mean probability", "mean depth", "area over that of the ellipse with its moments"):
        here, there = (sorted(one[:, FACTS.index(name)]) for one in large)
        assert np.allclose(here, there, atol=0.03)
    assert np.allclose(sorted(large[0][:, 0]), sorted(large[1][:, 0]), atol=0.02)
