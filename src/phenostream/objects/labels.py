"""Label images in, label images out: order, edges, and the compartments derived from nuclei."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from phenostream.errors import WrongDtypeError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.int32]


_BLOCK = 1 << 20  # pixels that are looked at together


def checked(labels: NDArray[Any]) -> NDArray[Any]:
    """`labels` itself when it is a label image: (Y, X) of integers.

    Raises:
        WrongShapeError: not two axes.
        WrongDtypeError: not integers.
    """
    array = np.asarray(labels)
    if array.ndim != 2:
        raise WrongShapeError(f"a label image is (Y, X), not {array.shape}")
    if array.dtype.kind not in "iu":
        raise WrongDtypeError(f"labels are integers, not {array.dtype}", remedy="use labels.astype('int32')")
    return array


def relabel(labels: NDArray[Any]) -> Labels:
    """Number the objects 1 to N in the raster order of their first pixels.

    Args:
        labels: (Y, X) integers of any type; 0 and less is background.

    Returns:
        (Y, X) int32, the same objects with consecutive numbers.
    """
    array = checked(labels)
    flat = array.ravel()
    if flat.min(initial=0) >= 0 and flat.max(initial=0) <= flat.size:  # a table is smaller and faster than sorting
        ranks: Labels = _ranks(flat)[array]
        return ranks
    inside = np.flatnonzero(flat > 0)
    found, code = np.unique(flat[inside], return_inverse=True)
    first = np.zeros(found.size, np.int64)
    first[code[::-1]] = np.arange(inside.size)[::-1]  # written backwards: the first pixel's write is the last
    rank = np.empty(found.size, np.int32)
    rank[np.argsort(first)] = np.arange(1, found.size + 1, dtype=np.int32)
    out = np.zeros(flat.size, np.int32)
    out[inside] = rank[code]
    return out.reshape(labels.shape)


def _ranks(flat: NDArray[Any]) -> Labels:
    """For each number from 0 on, its place in the order of first pixels, from 1 on; 0 for 0."""
    first = np.full(int(flat.max(initial=0)) + 1, flat.size)
    for start in reversed(range(0, flat.size, _BLOCK)):
        block = flat[start : start + _BLOCK]
        first[block[::-1]] = np.arange(start, start + block.size)[
            ::-1
        ]  # backwards: the first pixel's write is the last
    found = np.flatnonzero(first < flat.size)
    found = found[found > 0]
    ranks = np.zeros(first.size, np.int32)
    ranks[found[np.argsort(first[found])]] = np.arange(1, found.size + 1)
    return ranks


def areas(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Pixels of each number from 0 on in a label image without negative numbers."""
    flat = labels.ravel()
    counts = np.zeros(int(flat.max(initial=0)) + 1, np.int64)
    for start in range(0, flat.size, _BLOCK):  # NumPy counts in a copy of 64-bit integers
        counts += np.bincount(flat[start : start + _BLOCK], minlength=counts.size)
    return counts


def remove_edge_objects(labels: NDArray[Any]) -> Labels:
    """`labels` (Y, X) without the objects that touch the border of the image, renumbered by :func:`relabel`."""
    array = checked(labels)
    if array.size == 0:
        return relabel(array)
    border = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    return relabel(np.where(np.isin(array, np.unique(border)), 0, array))


def expand(labels: NDArray[Any], distance: float) -> Labels:
    """Grow every object by `distance` pixels without overlap; each pixel joins its nearest object.

    Args:
        labels: (Y, X) integers.
        distance: pixels, Euclidean; 0 changes nothing.

    Returns:
        (Y, X) int32 with the numbers of `labels`.
    """
    array = checked(labels)
    gap, nearest = ndimage.distance_transform_edt(array <= 0, return_indices=True)
    grown = array[tuple(nearest)]
    return np.where(gap <= distance, grown, 0).astype(np.int32)


def cytoplasm(cells: NDArray[Any], nuclei: NDArray[Any], *, rim: bool = False) -> Labels:
    """What of each cell lies outside all nuclei, with the cell's number.

    Args:
        cells: (Y, X) integers.
        nuclei: (Y, X) integers, of the same shape.
        rim: count the outermost pixels of nuclei too: those with another number among their eight neighbours, or on the
            border of the image. CellProfiler does so where it shrinks the smaller objects first.

    Raises:
        WrongShapeError: the two do not fit.
    """
    outer, inner = checked(cells), checked(nuclei)
    if outer.shape != inner.shape:
        raise WrongShapeError(f"cells are {outer.shape}, nuclei {inner.shape}: one image, one shape")
    taken = _core(inner) if rim else inner > 0
    return np.where((outer > 0) & ~taken, outer, 0).astype(np.int32)


def matched(cells: NDArray[Any], nuclei: NDArray[Any]) -> Labels:
    """`cells` with the numbers of their nuclei; those without a nucleus go.

    The pair that shares the most pixels is matched first, the lower labels among equals, and so on with cells and
    nuclei that are left.

    Args:
        cells: (Y, X) integers.
        nuclei: (Y, X) integers, of the same shape.

    Returns:
        (Y, X) int32.

    Raises:
        WrongShapeError: the two do not fit.
    """
    outer, inner = checked(cells), checked(nuclei)
    if outer.shape != inner.shape:
        raise WrongShapeError(f"cells are {outer.shape}, nuclei {inner.shape}: one image, one shape")
    known, code = np.unique(np.where(outer > 0, outer, 0), return_inverse=True)
    code = code.reshape(outer.shape)
    both = (outer > 0) & (inner > 0)
    pairs, shared = np.unique(np.stack([code[both], inner[both]], 1).astype(np.int64), axis=0, return_counts=True)
    numbers = np.zeros(known.size, np.int32)
    taken: set[int] = set()
    for cell, nucleus in pairs[np.argsort(-shared, kind="stable")].tolist():
        if not numbers[cell] and nucleus not in taken:
            numbers[cell] = nucleus
            taken.add(nucleus)
    return numbers[code]


def _core(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels of objects all whose eight neighbours are of the same object."""
    around = np.pad(labels, 1)
    square = np.ones((3, 3), np.bool_)
    least, most = (
        pick(around, footprint=square)[1:-1, 1:-1] for pick in (ndimage.minimum_filter, ndimage.maximum_filter)
    )
    return np.asarray((labels > 0) & (least == most))
