"""Linear resizing as two small sparse products: the same bytes on any number of threads."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEGLIGIBLE = 1e-12


def resize(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Resize one plane by bilinear interpolation, smoothed first along the axes that shrink.

    Pixel centres lie at half-integers, edges are mirrored, and an axis that shrinks by a factor f is smoothed by a
    Gaussian of sigma (f - 1) / 2: the values of ``skimage.transform.resize(order=1, mode="symmetric")``. Both axes are
    sparse products, which no BLAS library reorders, so that results do not depend on the number of threads.

    Args:
        image: (Y, X), any real dtype.
        shape: wanted (Y, X).

    Returns:
        (Y, X) float64, range preserved.
    """
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.shape == shape:
        return pixels.copy()
    rows, columns = (_axis(old, new) for old, new in zip(pixels.shape, shape, strict=True))
    resized: NDArray[np.float64] = np.ascontiguousarray((columns @ (rows @ pixels).T).T)
    return resized


@lru_cache(maxsize=16)
def _axis(old: int, new: int) -> Any:
    """The sparse (new, old) matrix that resizes one axis."""
    factor = old / new
    centres = np.clip((np.arange(new) + 0.5) * factor - 0.5, 0, old - 1)
    left = np.minimum(centres.astype(np.intp), max(old - 2, 0))
    right = np.minimum(left + 1, old - 1)
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new), left), 1 - (centres - left))
    np.add.at(weights, (np.arange(new), right), centres - left)
    if factor > 1:
        # Smoothing with mirrored edges is symmetric: applied to the weights it equals applied to the image.
        weights = gaussian_filter1d(weights, (factor - 1) / 2, axis=1, mode="reflect")
    weights[np.abs(weights) < _NEGLIGIBLE] = 0
    return csr_array(weights)
