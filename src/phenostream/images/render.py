"""Pictures for people: 8-bit planes, colour composites, thumbnails and outlines. Never used for measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phenostream.errors import EmptyError, RecipeError, WrongDtypeError, WrongShapeError
from phenostream.images._resample import resize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Colour = str | tuple[int, int, int]

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "grey": (255, 255, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "green": (0, 255, 0),
    "red": (255, 0, 0),
    "blue": (0, 0, 255),
    "sky": (86, 180, 233),
    "orange": (230, 159, 0),
    "teal": (0, 158, 115),
    "vermilion": (213, 94, 0),
    "purple": (204, 121, 167),
}
"""Colour names. The last five are those of Okabe and Ito, which all common kinds of colour vision tell apart."""

_DEFAULTS: Final = {1: ("grey",), 2: ("green", "magenta"), 3: ("cyan", "magenta", "yellow")}
_MANY: Final = ("sky", "orange", "teal", "yellow", "purple", "vermilion")
_PERCENTILES: Final = (1.0, 99.8)


def to_8bit(
    image: NDArray[Any],
    *,
    percentiles: tuple[float, float] = _PERCENTILES,
    limits: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Stretch a plane linearly to 0..255; what lies outside the limits is clipped.

    Args:
        image: (Y, X), integer, boolean or floating point; NaN is drawn black.
        percentiles: the two percentiles of the image that become 0 and 255.
        limits: two intensities that become 0 and 255, in place of percentiles, to compare images.

    Returns:
        (Y, X) uint8, rounded half to even; all 0 where the limits coincide.

    Raises:
        EmptyError: no pixels.
        WrongDtypeError: not numbers.
        RecipeError: limits or percentiles in the wrong order.
    """
    values = _numbers(image)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(values.shape, np.uint8)
    low, high = limits if limits is not None else (float(one) for one in np.percentile(finite, percentiles))
    if not low <= high:
        raise RecipeError(f"limits {low} and {high}", remedy="give the lower one first")
    if low == high:
        return np.zeros(values.shape, np.uint8)
    scaled = np.clip((values - low) * (255 / (high - low)), 0, 255)
    return np.rint(np.nan_to_num(scaled, nan=0.0)).astype(np.uint8)


def composite(
    stack: NDArray[Any],
    *,
    colours: Sequence[Colour] | None = None,
    percentiles: tuple[float, float] = _PERCENTILES,
    limits: Sequence[tuple[float, float]] | None = None,
) -> NDArray[np.uint8]:
    """Channels as one colour picture: each stretched on its own, tinted, and added.

    Args:
        stack: (C, Y, X).
        colours: a name of `COLOURS` or an (r, g, b) of 0..255 for each channel. By default grey for one; green and
            magenta for two; cyan, magenta and yellow for three; the colours of Okabe and Ito, repeated, for more.
        percentiles: see `to_8bit`.
        limits: a pair of intensities for each channel, see `to_8bit`.

    Returns:
        (Y, X, 3) uint8.

    Raises:
        WrongShapeError: not three axes, or not one colour and one pair of limits a channel.
        EmptyError: no channel or no pixels.
        RecipeError: an unknown colour.
    """
    channels = np.asarray(stack)
    if channels.ndim != 3:
        raise WrongShapeError(f"a stack of {channels.ndim} axes", remedy="give (C, Y, X)")
    if not channels.size:
        raise EmptyError("a stack without channels or pixels")
    tints = [_rgb(one) for one in (colours if colours is not None else default_colours(len(channels)))]
    pairs = list(limits) if limits is not None else [None] * len(channels)
    if len(tints) != len(channels) or len(pairs) != len(channels):
        raise WrongShapeError(f"{len(channels)} channels, {len(tints)} colours, {len(pairs)} limits")
    picture = np.zeros((*channels.shape[1:], 3))
    for plane, tint, pair in zip(channels, tints, pairs, strict=True):
        grey = to_8bit(plane, percentiles=percentiles, limits=pair)
        picture += grey[..., None] * (np.array(tint) / 255)
    mixed: NDArray[np.uint8] = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
    return mixed


def default_colours(channels: int) -> tuple[str, ...]:
    """Names of the colours that `composite` gives to so many channels."""
    return _DEFAULTS.get(channels, tuple(_MANY[i % len(_MANY)] for i in range(channels)))


def thumbnail(stack: NDArray[Any], *, side: int = 256, colours: Sequence[Colour] | None = None) -> NDArray[np.uint8]:
    """A small picture of a field: the same bytes each time.

    Args:
        stack: (C, Y, X) or (Y, X).
        side: longest side in pixels; smaller fields are not enlarged.
        colours: see `composite`.

    Returns:
        (h, w) uint8 for one channel without `colours`, else (h, w, 3) uint8.

    Raises:
        WrongShapeError, EmptyError, WrongDtypeError, RecipeError: see `composite`.
    """
    channels = np.asarray(stack)
    channels = channels[None] if channels.ndim == 2 else channels
    if channels.ndim != 3:
        raise WrongShapeError(f"a stack of {channels.ndim} axes", remedy="give (C, Y, X) or (Y, X)")
    if side < 1:
        raise RecipeError(f"a thumbnail of side {side}", remedy="give at least 1")
    if not channels.size:
        raise EmptyError("a stack without channels or pixels")
    rows, columns = channels.shape[1:]
    scale = min(1.0, side / max(rows, columns))
    size = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    small = np.stack([resize(_numbers(plane), size) for plane in channels])
    return to_8bit(small[0]) if len(small) == 1 and colours is None else composite(small, colours=colours)


def draw_outlines(
    picture: NDArray[np.uint8],
    objects: NDArray[Any] | Iterable[NDArray[Any]],
    *,
    colour: Colour = "yellow",
    scale: float = 1.0,
) -> NDArray[np.uint8]:
    """Draw the border of every object onto a copy of a picture.

    Args:
        picture: (h, w) or (h, w, 3) uint8.
        objects: a label image (h, w), 0 is background, whose objects' inner border pixels are painted; or outlines,
            one (K, 2) array of (y, x) an object.
        colour: a name of `COLOURS` or an (r, g, b) of 0..255.
        scale: picture pixels per pixel of the outlines; not for label images. Points that fall outside are left out.

    Returns:
        (h, w, 3) uint8.

    Raises:
        WrongShapeError: a picture or label image of another shape.
        WrongDtypeError: a picture that is not 8-bit.
        RecipeError: an unknown colour.
    """
    if picture.dtype != np.uint8:
        raise WrongDtypeError(f"a picture of type {picture.dtype}", remedy="stretch it with to_8bit")
    if picture.ndim == 2:
        drawn = np.repeat(picture[..., None], 3, axis=2)
    elif picture.ndim == 3 and picture.shape[2] == 3:
        drawn = picture.copy()
    else:
        raise WrongShapeError(f"a picture of {picture.shape}", remedy="give (h, w) or (h, w, 3)")
    if isinstance(objects, np.ndarray) and objects.dtype != object:
        drawn[_borders(objects, drawn.shape[:2])] = _rgb(colour)
        return drawn
    for outline in objects:
        y, x = (np.floor((np.asarray(axis) + 0.5) * scale).astype(np.intp) for axis in np.reshape(outline, (-1, 2)).T)
        inside = (y >= 0) & (x >= 0) & (y < drawn.shape[0]) & (x < drawn.shape[1])
        drawn[y[inside], x[inside]] = _rgb(colour)
    return drawn


def _borders(labels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Object pixels with a neighbour, by one of four sides, of another label."""
    if labels.shape != shape:
        raise WrongShapeError(f"labels of {labels.shape} on a picture of {shape}", remedy="give one size")
    around = np.pad(labels, 1, mode="edge")
    other = np.zeros(shape, bool)
    for shifted in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        other |= shifted != labels
    borders: NDArray[np.bool_] = other & (labels != 0)
    return borders


def _rgb(colour: Colour) -> tuple[int, int, int]:
    if isinstance(colour, str):
        if colour not in COLOURS:
            raise RecipeError(f"no colour {colour!r}", remedy=f"choose from {', '.join(COLOURS)}")
        return COLOURS[colour]
    if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
        raise RecipeError(f"a colour {colour}", remedy="give red, green and blue from 0 to 255")
    return colour


def _numbers(image: NDArray[Any]) -> NDArray[np.float64]:
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "biuf":
        raise WrongDtypeError(f"pixels of type {pixels.dtype}", remedy="give numbers")
    if not pixels.size:
        raise EmptyError("an image without pixels")
    return pixels.astype(np.float64)
