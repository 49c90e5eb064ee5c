"""Moments of shapes: spatial, central, normalised, Hu's, and the inertia tensor.

Hu (1962), Visual pattern recognition by moment invariants, IRE Trans. Information Theory 8(2), 179-187. The first
index is the power of the row, the second that of the column; spatial moments count rows and columns from the bounding
box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORDERS = [(p, q) for p in range(3) for q in range(4)]


def moment_names() -> list[str]:
    """The columns of `moments`, as CellProfiler names them."""
    found = [f"{kind}Moment_{p}_{q}" for kind in ("Spatial", "Central") for p, q in _ORDERS]
    found += [f"NormalizedMoment_{p}_{q}" for p in range(4) for q in range(4)]
    found += [f"HuMoment_{k}" for k in range(7)]
    found += [f"InertiaTensor_{p}_{q}" for p in range(2) for q in range(2)]
    return [*found, "InertiaTensorEigenvalues_0", "InertiaTensorEigenvalues_1"]


def moments(
    rows: NDArray[np.int32], cols: NDArray[np.int32], offsets: NDArray[np.int64], boxes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n, 53): the moments of all objects; normalised moments of order 0 and 1 are NaN."""
    spatial, central = _sums(rows, cols, offsets, boxes)
    normal = np.full_like(central, np.nan)
    for p in range(4):
        for q in range(4):
            if p + q >= 2:
                normal[:, p, q] = central[:, p, q] / central[:, 0, 0] ** ((p + q) / 2 + 1)
    chosen = [np.column_stack([block[:, p, q] for p, q in _ORDERS]) for block in (spatial, central)]
    return np.hstack([*chosen, normal.reshape(len(normal), 16), _hu(normal), _inertia(central)])


def _hu(nu: NDArray[np.float64]) -> NDArray[np.float64]:
    difference, twice = nu[:, 2, 0] - nu[:, 0, 2], 2 * nu[:, 1, 1]
    a, b = nu[:, 3, 0] + nu[:, 1, 2], nu[:, 2, 1] + nu[:, 0, 3]
    c, d = nu[:, 3, 0] - 3 * nu[:, 1, 2], 3 * nu[:, 2, 1] - nu[:, 0, 3]
    long, wide = a**2 - 3 * b**2, 3 * a**2 - b**2
    return np.column_stack(
        [
            nu[:, 2, 0] + nu[:, 0, 2],
            difference**2 + twice**2,
            c**2 + d**2,
            a**2 + b**2,
            c * a * long + d * b * wide,
            difference * (a**2 - b**2) + 2 * twice * a * b,
            d * a * long - c * b * wide,
        ]
    )


def _inertia(central: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, cols, both = (central[:, p, q] / central[:, 0, 0] for p, q in ((2, 0), (0, 2), (1, 1)))
    middle, half = (rows + cols) / 2, np.sqrt(((cols - rows) / 2) ** 2 + both**2)
    return np.column_stack([cols, -both, -both, rows, middle + half, np.maximum(middle - half, 0)])


@kernel
def _sums(
    rows: NDArray[np.int32], cols: NDArray[np.int32], offsets: NDArray[np.int64], boxes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 4, 4) each: sums of ``row**p * col**q`` from the corner of the box, and from the centroid."""
    n = offsets.size - 1
    spatial, central = np.zeros((n, 4, 4)), np.zeros((n, 4, 4))
    for i in range(n):
        y_mean = x_mean = 0.0
        for around in range(2):
            out = central[i] if around else spatial[i]
            for k in range(offsets[i], offsets[i + 1]):
                y, x = rows[k] - boxes[i, 0] - y_mean, cols[k] - boxes[i, 1] - x_mean
                high = 1.0
                for p in range(4):
                    term = high
                    for q in range(4):
                        out[p, q] += term
                        term *= x
                    high *= y
            y_mean, x_mean = spatial[i, 1, 0] / spatial[i, 0, 0], spatial[i, 0, 1] / spatial[i, 0, 0]
    return spatial, central
