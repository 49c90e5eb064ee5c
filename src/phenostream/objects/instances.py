"""From what a network says of each pixel to separate objects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage

from phenostream.objects.basins import basins
from phenostream.objects.labels import areas
from phenostream.objects.level import fill_holes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Labels = NDArray[np.int32]

_HOLE = 0.1  # largest hole that is filled, in squared diameters


class Rule(NamedTuple):
    """How maps become objects; shares of 1 unless said.

    Attributes:
        foreground: least probability of a pixel to belong to an object.
        smooth: deviation of the Gaussian over the energy, in diameters.
        contact: how much of the contact map is taken off the depth map.
        saddle: how deep the saddle between two objects lies below the lower of their peaks.
        least: least area, as a share of a disc of the typical diameter.
        sure: least mean probability over the pixels of an object.
    """

    foreground: float = 0.5
    smooth: float = 0.06
    contact: float = 0.5
    saddle: float = 0.15
    least: float = 0.03
    sure: float = 0.75


RULE = Rule()


def instances(maps: NDArray[Any], diameter: float, rule: Rule = RULE) -> Labels:
    """Separate objects by their depth maps.

    Args:
        maps: (3, Y, X), 0 to 1: probability to lie in an object; depth in it (distance to its border over its largest);
            closeness to two objects at once.
        diameter: typical diameter of the objects in pixels.
        rule: thresholds.

    Returns:
        (Y, X) int32: 0 is background; numbers are positive, with gaps, in no particular order.
    """
    probability, depth, contact = np.asarray(maps, np.float32)
    inside = fill_holes(probability > rule.foreground, _HOLE * diameter**2)
    energy = ndimage.gaussian_filter(depth * (1 - rule.contact * contact), rule.smooth * diameter)
    labels = basins(energy, inside, rule.saddle)
    area = areas(labels)
    total = np.bincount(labels.ravel(), weights=probability.ravel())
    keep = (area >= rule.least * math.pi / 4 * diameter**2) & (total >= rule.sure * area)
    keep[0] = False
    return np.where(keep[labels], labels, 0).astype(np.int32)


def typical_diameter(labels: NDArray[Any]) -> float | None:
    """Median over the objects of `labels` (Y, X) of a disc's diameter of their area, in pixels; None without any."""
    area = areas(np.asarray(labels))[1:]
    area = area[area > 0]
    return 2 * math.sqrt(float(np.median(area)) / math.pi) if area.size else None
