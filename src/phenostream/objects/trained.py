"""Objects by a network that knows one scale: the image is brought to it, and what the network says is brought back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from phenostream.objects.instances import RULE, Rule, instances, typical_diameter
from phenostream.objects.judge import LEAST
from phenostream.objects.level import calm, estimate_diameter, normalise
from phenostream.objects.memory import hold
from phenostream.objects.proposals import cut, propose
from phenostream.objects.resample import resample

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from phenostream.objects.judge import Judge

    Image = NDArray[np.float32]
    Labels = NDArray[np.int32]

Predict: TypeAlias = "Callable[[NDArray[np.float32]], NDArray[np.float32]]"

PERCENTILES = 1.0, 99.8  # which become 0 and 1
WORKING = 16.0  # diameter in pixels at which objects are shown to the network
_SIZES = 4.0, 500.0  # diameters in pixels that are believed
_LARGEST = 3.0  # factor by which an image is enlarged at most
_SMALLEST = 16  # pixels of the shortest side that is left
_AGREE = 1.15  # factor between the estimated diameter and the one found, up to which one look is enough
_THUMBNAIL = 700  # pixels of the longest side of the image from which the diameter is estimated


def label_with(
    predict: Predict,
    image: NDArray[Any],
    diameter: float | None = None,
    *,
    working: float = WORKING,
    rule: Rule = RULE,
    judge: Judge | None = None,
) -> Labels:
    """Label the objects of one image.

    Without `diameter`, it is estimated from the image, and corrected by the objects found where both do not
    agree within 15 % (two looks at most).

    Args:
        predict: intensities (Y, X) -> maps (3, Y, X) as :func:`instances` takes them.
        image: (Y, X), finite integers or floats.
        diameter: typical diameter of the objects in pixels; estimated when None.
        working: the diameter in pixels at which `predict` is asked.
        rule: how maps become objects without a judge.
        judge: what tells which proposals are objects.

    Returns:
        (Y, X) int32: 0 is background; numbers are positive, with gaps. A flat or empty image has no objects.

    Raises:
        OverBudgetError: this machine cannot hold the work.
    """
    scaled = stretched(image)
    if scaled is None:
        return np.zeros(image.shape, np.int32)

    def understood(maps: Image, size: float) -> Labels:
        return instances(maps, size, rule) if judge is None else _judged(maps, scaled, size, judge)

    return looked_at(predict, scaled, diameter, working=working, understood=understood).labels


class Looked(NamedTuple):
    """What was seen at the last look: maps (3, Y, X), the diameter that was believed, and the labels (Y, X)."""

    maps: Image
    diameter: float
    labels: Labels


def looked_at(
    predict: Predict,
    scaled: Image,
    diameter: float | None,
    *,
    working: float,
    understood: Callable[[Image, float], Labels],
) -> Looked:
    """Look at stretched intensities (Y, X) as :func:`label_with` does.

    `understood` makes labels of maps and the diameter that is believed.

    Raises:
        OverBudgetError: this machine cannot hold the work, as far as that is known before it is begun.
    """

    def look(size: float) -> Looked:
        maps = seen(predict, scaled, size, working)
        return Looked(maps, size, understood(maps, size))

    hold(scaled.size, 0)
    size = diameter or believed(_estimate(scaled))
    first = look(size)
    found = None if diameter else typical_diameter(first.labels)
    if found is None or max(found / size, size / found) <= _AGREE:
        return first
    del first  # two looks at a large image need not fit into memory
    return look(believed(found))


def averaged(predict: Predict, views: int) -> Predict:
    """`predict` averaged over mirror images: 1 of them, 2 (left and right) or 4 (up and down, too)."""
    turns = [(1, 1), (1, -1), (-1, 1), (-1, -1)][:views]

    def maps(image: Image) -> Image:
        total = np.array(predict(image), np.float32)
        for y, x in turns[1:]:
            total += predict(np.ascontiguousarray(image[::y, ::x]))[:, ::y, ::x]
        total /= np.float32(views)
        return total

    return maps


def stretched(image: NDArray[Any]) -> Image | None:
    """Intensities with the first and the 99.8th percentile at 0 and 1, not clipped; None for an empty or flat image."""
    if image.size == 0 or image.min() == image.max():
        return None
    low, high = np.percentile(image, PERCENTILES)
    if high <= low:
        low, high = float(image.min()), float(image.max())
    out = np.empty(image.shape, np.float32)
    for rows, into in zip(image, out, strict=True):  # row by row: the image in double precision is never there at once
        into[...] = (rows.astype(np.float64) - low) / (high - low)
    return out


def believed(diameter: float) -> float:
    """`diameter` within what objects can measure, in pixels."""
    return min(max(diameter, _SIZES[0]), _SIZES[1])


def shape_at(shape: tuple[int, ...], factor: float) -> tuple[int, int]:
    """Shape of an image (Y, X) of `shape` enlarged by `factor`, as far as that is allowed."""
    factor = min(max(factor, _SMALLEST / min(shape)), _LARGEST)
    rows, columns = (max(1, round(side * factor)) for side in shape)
    return rows, columns


def seen(predict: Predict, scaled: Image, diameter: float, working: float) -> Image:
    """What `predict` says of stretched intensities (Y, X): (3, Y, X).

    They are shown to it at the scale at which `diameter` becomes `working`. Raises OverBudgetError where this machine
    cannot hold that.
    """
    shape = shape_at(scaled.shape, working / diameter)
    hold(scaled.size, math.prod(shape))
    maps = predict(resample(scaled, shape))
    out = np.empty((len(maps), *scaled.shape), np.float32)
    for plane, into in zip(maps, out, strict=True):
        into[...] = resample(plane, (scaled.shape[0], scaled.shape[1]))
    return out


def _judged(maps: Image, scaled: Image, diameter: float, judge: Judge) -> Labels:
    proposals = propose(maps, scaled, diameter)
    return cut(proposals, judge(proposals.facts) - LEAST)


def _estimate(scaled: Image) -> float:
    factor: int = max(1, math.ceil(max(scaled.shape) / _THUMBNAIL))
    small = resample(scaled, shape_at(scaled.shape, 1 / factor))
    level = normalise(np.clip(small, 0, 1))
    quiet = calm(level) if level is not None else None
    found: float = WORKING if quiet is None else estimate_diameter(quiet[0])
    return found * factor
