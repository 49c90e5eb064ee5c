"""Where to cut an image so that what a network says of the pieces is what it says of the whole.

A network without operations over the whole image computes each output pixel from the input pixels within its *halo*
(the radius of its receptive field). A window therefore gives, all but `halo` pixels from its cut edges, the very
numbers that the whole image gives there. Edges that are the image's own are not cut: there the network pads in the
window as it pads in the image. Windows start at multiples of the network's *stride*, since its poolings fall on the
same grid then. Neighbours share `overlap` pixels in which both are right, and their weights rise and fall so that they
sum to one: where the halo is true, blending changes nothing but the last bit; where it was declared too small, it
hides the seam.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from numpy.typing import NDArray

__all__ = ["Span", "Tile", "balanced", "cut", "padded_window", "shape_within", "spans", "tiles"]


@dataclass(frozen=True, slots=True)
class Span:
    """A window along one axis, in pixels of the padded image.

    Attributes:
        start: first pixel that goes in.
        stop: end of what goes in.
        low: first pixel that is kept.
        high: end of what is kept.
        rise: pixels at `low` that the window before has too.
        fall: pixels before `high` that the window after has too.
    """

    start: int
    stop: int
    low: int
    high: int
    rise: int
    fall: int

    def weights(self, ratio: Fraction, length: int) -> NDArray[np.float32]:
        """Weight of each kept output pixel, at most `length` in the image: squared sines, which sum to one in pairs."""
        low, high, rise, fall = (int(value * ratio) for value in (self.low, self.high, self.rise, self.fall))
        weights = np.ones(high - low, np.float32)
        if rise:
            weights[:rise] = _ramp(rise)
        if fall:
            weights[len(weights) - fall :] = 1 - _ramp(fall)
        return weights[: max(0, length - low)]


@dataclass(frozen=True, slots=True)
class Tile:
    """One window, a span an axis."""

    spans: tuple[Span, ...]

    @property
    def window(self) -> tuple[tuple[int, int], ...]:
        """Start and stop of what goes in, an axis each."""
        return tuple((span.start, span.stop) for span in self.spans)


def spans(length: int, window: int, halo: int, overlap: int) -> list[Span]:
    """Windows that cover an axis of `length`; all numbers are multiples of one stride, in pixels.

    Raises WrongShapeError for windows that keep too little to get on.
    """
    if window >= length:
        return [Span(0, length, 0, length, 0, 0)]
    step = window - 2 * halo - overlap
    if step < max(overlap, 1):
        raise WrongShapeError(
            f"a tile of {window} pixels is too small for a halo of {halo} and an overlap of {overlap}",
            remedy=f"give at least {2 * halo + 2 * max(overlap, 1)}",
        )
    starts = [*range(0, length - window, step), length - window]
    found, low = [], 0
    for place, start in enumerate(starts):
        last = place == len(starts) - 1
        high = length if last else start + window - halo
        found.append(Span(start, start + window, low, high, overlap if place else 0, 0 if last else overlap))
        low = high - overlap
    return found


def tiles(lengths: Sequence[int], windows: Sequence[int], halos: Sequence[int], overlaps: Sequence[int]) -> list[Tile]:
    """All windows of an image, in raster order."""
    axes = [spans(*one) for one in zip(lengths, windows, halos, overlaps, strict=True)]
    return [Tile(one) for one in itertools.product(*axes)]


def balanced(length: int, window: int, halo: int, overlap: int, stride: int) -> int:
    """The shortest window that covers `length` in as few windows as `window` does: none is spent on what is known."""
    shared = 2 * halo + overlap
    if window >= length or window <= shared:
        return window
    count = -(-(length - shared) // (window - shared))
    return -(-(length + (count - 1) * shared) // (count * stride)) * stride


def shape_within(lengths: Sequence[int], strides: Sequence[int], pixels: float) -> tuple[int, ...]:
    """The most cubic window of at most `pixels` pixels, in multiples of the strides, no longer than the image."""

    def shape(side: int) -> tuple[int, ...]:
        return tuple(
            min(length, max(stride, side // stride * stride)) for length, stride in zip(lengths, strides, strict=True)
        )

    low, high = 1, max(lengths)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.prod(shape(middle), dtype=float) <= pixels else (low, middle - 1)
    return shape(low)


def padded_window(image: Any, window: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """A window (C, ...) of `image` (C, ...), which goes on beyond its ends by reflection (as NumPy's ``reflect``)."""
    picks: list[NDArray[np.intp] | None] = []
    slices: list[slice] = [slice(None)]
    for (start, stop), length in zip(window, image.shape[1:], strict=True):
        if stop <= length:
            picks.append(None)
            slices.append(slice(start, stop))
            continue
        index = _reflected(np.arange(start, stop), length)
        slices.append(slice(int(index.min()), int(index.max()) + 1))
        picks.append(index - index.min())
    found = np.asarray(image[tuple(slices)])
    for axis, pick in enumerate(picks, 1):
        if pick is not None:
            found = np.take(found, pick, axis=axis)
    return found


def cut(tile: Tile, ratios: Sequence[Fraction], lengths: Sequence[int]) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
    """Along each axis: where the kept part lies in the window's output, where in the image's, and its weights.

    `lengths` are those of the whole output.
    """
    for span, ratio, length in zip(tile.spans, ratios, lengths, strict=True):
        weights = span.weights(ratio, length)
        low, inner = int(span.low * ratio), int((span.low - span.start) * ratio)
        yield slice(inner, inner + len(weights)), slice(low, low + len(weights)), weights


def _ramp(length: int) -> NDArray[np.float32]:
    return (np.sin(np.pi / 2 * np.arange(1, length + 1) / (length + 1)) ** 2).astype(np.float32)


def _reflected(index: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    if length == 1:
        return np.zeros_like(index)
    turn = 2 * (length - 1)
    folded = index % turn
    return np.minimum(folded, turn - folded)
