"""Image quality as a handful of numbers: is it in focus, is it saturated, how bright is it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import rfft2
from scipy.ndimage import laplace

from phenostream.errors import EmptyError, WrongDtypeError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_SIDE = 8


def quality(image: NDArray[Any], *, limit: float | None = None) -> dict[str, float]:
    """Figures of one plane, all finite.

    * ``focus``: variance of the discrete Laplacian over the squared mean; falls with blur, does not change with
      exposure (Pech-Pacheco et al. 2000). 0 where the mean is not positive.
    * ``slope``: slope of log power against log spatial frequency (Field and Brelstaff 1997; see `power_slope`);
      near -2 for sharp scenes, lower when blurred, near 0 for noise.
    * ``mean``, ``median``, ``low`` (1st percentile), ``high`` (99th percentile): intensity, in the image's units.
    * ``spread``: standard deviation, in the image's units.
    * ``saturated``: fraction of pixels at `limit` or above. Corrected pixels no longer lie at the camera's limit:
      judge saturation on raw ones.
    * ``maximal``: fraction of pixels equal to the image's maximum; large where a camera of fewer bits was clipped.

    Args:
        image: (Y, X), integer or floating point, finite.
        limit: intensity at which the camera saturates; by default the largest value of an integer dtype, and none
            (fraction 0) for floating point.

    Returns:
        the figures by name.

    Raises:
        WrongShapeError: not two axes.
        EmptyError: no pixels.
        WrongDtypeError: neither integer nor floating point.
    """
    pixels = _checked(image)
    values = pixels.astype(np.float64)
    mean = float(values.mean())
    low, median, high = (float(one) for one in np.percentile(values, (1, 50, 99)))
    top = limit if limit is not None else _largest(pixels.dtype)
    return {
        "focus": float(laplace(values).var()) / mean**2 if mean > 0 else 0.0,
        "slope": power_slope(values),
        "mean": mean,
        "median": median,
        "low": low,
        "high": high,
        "spread": float(values.std()),
        "saturated": float((values >= top).mean()),
        "maximal": float((values == values.max()).mean()),
    }


def power_slope(image: NDArray[Any]) -> float:
    """Slope of log10 mean power against log10 frequency, by least squares over rings of whole cycles an image.

    Rings go from 1 cycle to the Nyquist frequency of the shorter side. The image is windowed (Hann), so that opposite
    edges that do not match add no power of their own.

    Args:
        image: (Y, X), finite.

    Returns:
        the slope; 0 for images without structure or with a side under 8 pixels.
    """
    pixels = np.asarray(image, np.float64)
    if min(pixels.shape) < _LEAST_SIDE:
        return 0.0
    window = np.multiply.outer(*(np.hanning(side) for side in pixels.shape))
    power = np.abs(rfft2((pixels - pixels.mean()) * window)) ** 2
    rings, count = _rings(pixels.shape)
    sums = np.bincount(rings.ravel(), weights=power.ravel(), minlength=count)[1:count]
    power_at = sums / np.bincount(rings.ravel(), minlength=count)[1:count]
    known = power_at > np.finfo(np.float64).eps * pixels.size * max(float(np.abs(pixels).max()), 1e-300) ** 2
    if known.sum() < 2:
        return 0.0
    slope = np.polyfit(np.log10(np.arange(1, count)[known]), np.log10(power_at[known]), 1)[0]
    return float(slope)


def _rings(shape: tuple[int, ...]) -> tuple[NDArray[np.intp], int]:
    """Ring of each frequency of `rfft2`, in cycles over the shorter side; all that lies outside is ring 0."""
    rows, columns = shape
    side = min(rows, columns)
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]) * side
    rings = np.rint(radius).astype(np.intp)
    count = side // 2 + 1
    rings[rings >= count] = 0
    return rings, count


def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else np.inf


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "iuf":
        raise WrongDtypeError(f"pixels of type {pixels.dtype}", remedy="give integers or floating-point numbers")
    if pixels.ndim != 2:
        raise WrongShapeError(f"quality is of one plane, this has {pixels.ndim} axes", remedy="give (Y, X)")
    if not pixels.size:
        raise EmptyError("an image without pixels")
    return pixels
