"""Where objects lie: centroids, boxes, contact with the border. Rows are ascending labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from phenostream.objects.labels import checked

if TYPE_CHECKING:
    from numpy.typing import NDArray


def centroids(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Mean pixel position of every object: (N, 2) float64, (y, x) in pixels from 0, ascending label."""
    y, x = np.nonzero(checked(labels) > 0)
    code = np.unique(labels[y, x], return_inverse=True)[1]
    if code.size == 0:
        return np.zeros((0, 2))
    size = np.bincount(code)
    return np.stack([np.bincount(code, y) / size, np.bincount(code, x) / size], axis=1)


def boxes(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Bounding box of every object: (N, 4) int64 (y0, x0, y1, x1), ends exclusive, ascending label."""
    y, x = np.nonzero(checked(labels) > 0)
    found, code = np.unique(labels[y, x], return_inverse=True)
    box = np.empty((found.size, 4), np.int64)
    for column, values, pick in ((0, y, "min"), (1, x, "min"), (2, y, "max"), (3, x, "max")):
        span = getattr(ndimage, f"{'minimum' if pick == 'min' else 'maximum'}")
        box[:, column] = span(values, code, np.arange(found.size)) + (pick == "max") if found.size else 0
    return box


def touching_edge(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each object touches the border of the image: (N,) bool, ascending label."""
    box = boxes(labels)
    height, width = labels.shape
    return np.asarray((box[:, 0] == 0) | (box[:, 1] == 0) | (box[:, 2] == height) | (box[:, 3] == width))
