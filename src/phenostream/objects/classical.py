"""Bright nuclei on a darker background, without a trained network: arrays in, labels out.

1. A background (grey opening, three diameters wide) is taken off.
2. Foreground is what exceeds a global threshold (Otsu's on square roots, so that dim nuclei count), a share of the
   brightness nearby (so that bright nuclei do not swell) and the noise.
3. Distance to the background and brightness together are cut into fragments by a watershed, on purpose too many.
4. Neighbouring fragments are joined where shape and brightness say that they are one (:mod:`.joining`).
5. Each nucleus ends where its own brightness, over the background, falls below a share of its upper quartile.

Steps 2 to 4 work on block means, on which a nucleus is 12 to 24 pixels wide whatever the magnification. Everything is
relative to range and diameter: scaling the intensities, shifting them or changing their type changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

from phenostream.objects.grid import background, repeat, shrink, stretch
from phenostream.objects.joining import RULE, Rule, join
from phenostream.objects.level import calm, estimate_diameter, fill_holes, noise_floor, normalise, root_otsu

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Labels = NDArray[np.int32]

_COARSE = 12  # least diameter, in blocks, that shrinking leaves
_BACKGROUND = 3.0  # width of the opening in diameters
_OTSU = 1.3  # share of Otsu's threshold that foreground has at least
_NEARBY = 0.35  # share of the brightness nearby that foreground has at least
_BLUR, _APART = 0.07, 0.12  # in diameters: smoothing of brightness, least distance of fragment centres
_HOLE = 0.25  # largest hole, in squared diameters
_EDGE = 0.45  # share of a nucleus's upper quartile at which it ends
_CLEAR = 0.8  # noise of single pixels by which the mean of an object exceeds the background
_LEAST = 0.08  # least area as a share of a disc of the typical diameter


class Cut(NamedTuple):
    """A field cut into fragments, on the grid of block means.

    Attributes:
        fragments: (y, x) int32, 1 to N.
        bright: (y, x) float32, intensity over the background.
        smooth: (y, x) float32, `bright` after smoothing.
        depth: (y, x) float32, distance to the background of the foreground, in blocks.
    """

    fragments: Labels
    bright: Image
    smooth: Image
    depth: Image


def label_nuclei(image: NDArray[Any], diameter: float | None = None, *, rule: Rule = RULE) -> Labels:
    """Label the nuclei of one image.

    Args:
        image: (Y, X), finite integers or floats.
        diameter: typical diameter in pixels; estimated when None.
        rule: which fragments are joined.

    Returns:
        (Y, X) int32: 0 is background; numbers are consecutive, in no particular order.
    """
    found = fragments_of(image, diameter)
    if found is None:
        return np.zeros(image.shape, np.int32)
    cut, size, factor, over, noise = found
    whole = join(cut.fragments, cut.bright, cut.smooth, cut.depth, size / factor, rule=rule)
    return clear(finish(repeat(_grown(whole), factor, image.shape), over, size), over, noise)


def fragments_of(image: NDArray[Any], diameter: float | None) -> tuple[Cut, float, int, Image, float] | None:
    """Steps 1 to 3, None for no objects.

    Gives fragments, diameter, pixels a block, smooth intensity over the background, and the noise of single pixels.
    """
    scaled = normalise(image)
    calmed = None if scaled is None else calm(scaled)
    if calmed is None:
        return None
    fine, noise, raw = calmed
    size = diameter or estimate_diameter(fine)
    factor = max(1, int(size / _COARSE))
    coarse = shrink(fine, factor)
    under = background(ndimage.gaussian_filter(coarse, 1), _BACKGROUND * size / factor)
    cut = cut_up(np.maximum(coarse - under, 0), size / factor, noise)
    return cut, size, factor, fine - stretch(under, factor, image.shape), raw


def cut_up(bright: Image, size: float, noise: float) -> Cut:
    """Foreground of `bright` cut into fragments; `size` is the diameter and `noise` the deviation on this grid."""
    smooth = ndimage.gaussian_filter(bright, _BLUR * size)
    crest = ndimage.maximum_filter(smooth, max(3, int(size) | 1))
    nearby = ndimage.uniform_filter(crest, max(3, int(0.7 * size) | 1))
    least = max(_OTSU * root_otsu(bright), noise_floor(bright, noise))
    inside = fill_holes(bright > np.maximum(least, _NEARBY * nearby), _HOLE * size * size)
    depth = ndimage.distance_transform_edt(inside).astype(np.float32)
    height = ndimage.gaussian_filter(depth, 0.03 * size) / size + 0.5 * smooth / np.maximum(nearby, 1e-12)
    crests = (height == ndimage.maximum_filter(height, 2 * max(1, round(_APART * size)) + 1)) & inside
    seeds = ndimage.label(crests, np.ones((3, 3)))[0]
    fragments = watershed(-height, seeds, mask=inside)  # type: ignore[no-untyped-call]
    return Cut(fragments.astype(np.int32), bright, smooth, depth)


def _grown(labels: Labels) -> Labels:
    """One block more all around, so that the edge is found between pixels and not between blocks."""
    return np.where(labels == 0, ndimage.maximum_filter(labels, 3), labels)


def finish(seeds: Labels, bright: Image, size: float) -> Labels:
    """End each object at its own threshold, keep its largest piece, fill its holes, drop the small."""
    place = np.flatnonzero(seeds)
    owner, value = seeds.ravel()[place], bright.ravel()[place]
    keep = value >= _EDGE * _upper_quartiles(owner, value)[owner]
    kept = np.zeros(seeds.size, np.int32)
    kept[place[keep]] = owner[keep]
    pieces = label(kept.reshape(seeds.shape), connectivity=1)  # type: ignore[no-untyped-call]
    return _filled(_largest(pieces, kept, max(_LEAST * np.pi / 4 * size * size, 12)), _HOLE * size * size)


def clear(labels: Labels, bright: Image, noise: float) -> Labels:
    """Drop what is hardly brighter than the background: smoothing also brings out uneven light and clouds of noise.

    An object stays where its mean exceeds the background's median by `_CLEAR` of the noise of single pixels.
    """
    numbers = np.arange(1, int(labels.max(initial=0)) + 1)
    if numbers.size == 0 or noise <= 0:
        return labels
    outside = bright[::2, ::2][labels[::2, ::2] == 0]
    level = float(np.median(outside)) if outside.size else 0.0
    keep = np.asarray(ndimage.mean(bright, labels, numbers)) - level >= _CLEAR * noise
    return np.where(np.r_[False, keep], np.r_[0, np.cumsum(keep)], 0).astype(np.int32)[labels]


def _upper_quartiles(owner: Labels, value: Image) -> Image:
    """The upper quartile of the values of every owner, by number."""
    order = np.lexsort((value, owner))
    ends = np.cumsum(np.bincount(owner, minlength=1))
    starts = np.r_[0, ends[:-1]]
    rank = np.clip(starts + ((ends - starts - 1) * 0.75).astype(np.int64), 0, max(value.size - 1, 0))
    return value[order][rank] if value.size else np.zeros(1, np.float32)


def _largest(pieces: NDArray[Any], owners: Labels, least: float) -> Labels:
    """The largest piece of each owner, where it has `least` pixels, numbered anew."""
    area = np.bincount(pieces.ravel())
    area[0] = 0
    owner = np.zeros(area.size, np.int64)
    owner[pieces.ravel()] = owners
    order = np.argsort(area, kind="stable")
    best = np.zeros(owner.max() + 1, np.int64)
    best[owner[order]] = order
    keep = np.zeros(area.size, np.bool_)
    keep[best] = True
    keep &= area >= least
    return np.asarray((np.cumsum(keep) * keep)[pieces], np.int32)


def _filled(labels: Labels, area: float) -> Labels:
    """Holes of at most `area` pixels inside one object go to it; gaps between objects stay."""
    holes = ndimage.label(labels == 0)[0]
    small = np.bincount(holes.ravel()) <= area
    small[[0, *np.unique(np.r_[holes[0], holes[-1], holes[:, 0], holes[:, -1]])]] = False
    inside = np.flatnonzero(small[holes.ravel()])
    hole, flat = holes.ravel()[inside], labels.ravel()
    around = flat[inside[:, None] + np.array([-labels.shape[1], -1, 1, labels.shape[1]])]
    most, least = np.zeros(small.size, np.int32), np.full(small.size, np.iinfo(np.int32).max)
    np.maximum.at(most, hole, around.max(axis=1, initial=0))
    np.minimum.at(least, hole, np.where(around > 0, around, least[0]).min(axis=1, initial=least[0]))
    filled = flat.copy()
    filled[inside] = np.where(most == least, most, 0)[hole]
    return filled.reshape(labels.shape)
