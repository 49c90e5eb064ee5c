"""One label image and its channels, and the geometry that the families share; computed once, when first asked for."""

from __future__ import annotations

import itertools
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from phenostream.errors import (
    ChannelMissingError,
    EmptyError,
    NotFiniteError,
    TooLargeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.features.distances import to_outside
from phenostream.features.grouping import boxes, group, present, renumber
from phenostream.features.hulls import hulls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from numpy.typing import NDArray

    Borders = NDArray[np.integer[Any]]
    Result = TypeVar("Result")

_LARGEST = np.iinfo(np.int32).max
# Objects in the smallest block worth a thread's while.
_BLOCK = 16


class Scene:
    """What the families measure.

    Attributes:
        labels: (Y, X) int32, objects numbered 1 to n without gaps, by ascending original label.
        numbers: (n,) int64, the original labels.
        channels: names, in the order of `images`.
        images: (Y, X) each, in the dtype they came in; `values` gives them scaled.
        threads: how many may work on it at the same time; results are the same for any number.
        pool: where they work; one for everything, so that no thread starts others.
    """

    AXES: ClassVar[tuple[str, ...]] = ("Y", "X")

    def __init__(
        self, image: NDArray[Any], labels: NDArray[Any], channels: Sequence[str] | None = None, *, threads: int = 1
    ) -> None:
        """Check and keep (Y, X) or (C, Y, X) pixels and (Y, X) labels; see :func:`phenostream.features.measure`."""
        self.threads = threads
        self.pool: ThreadPoolExecutor | None = None
        self.numbers, self.labels = _labels(np.asarray(labels), self.AXES)
        stack = _stack(np.asarray(image), self.labels.shape)
        self.channels = _names(channels, len(stack))
        self.images = tuple(_pixels(plane, name) for plane, name in zip(stack, self.channels, strict=True))

    def __len__(self) -> int:
        return len(self.numbers)

    def prepare(self) -> Scene:
        """Compute what families share, so that threads only read it."""
        _ = self._grouped, self.areas, self.boxes, self.thickness, self.depth, self.hulls
        return self

    def part(self, start: int, stop: int) -> Scene:
        """The scene with the objects `start` to `stop` - 1 only: views of this one, which must be prepared."""
        first, last = self.offsets[start], self.offsets[stop]
        points, borders = self.hulls
        part = copy(self)
        part.threads, part.pool, part.numbers = 1, None, self.numbers[start:stop]
        shared = (*(each[first:last] for each in self._grouped[:3]), self.offsets[start : stop + 1] - first)
        hulls = points[borders[start] : borders[stop]], borders[start : stop + 1] - borders[start]
        part.__dict__.update(_grouped=shared, hulls=hulls, areas=self.areas[start:stop], boxes=self.boxes[start:stop])
        part.__dict__.update(thickness=self.thickness[first:last], depth=self.depth[first:last])
        return part

    def spread(self, function: Callable[[int, int], Result], borders: Borders) -> list[Result]:
        """``function(borders[i], borders[i + 1])`` of all i in order, in the scene's pool; not from a thread of it."""
        steps = [(int(a), int(b)) for a, b in itertools.pairwise(borders)]
        if self.pool is None or len(steps) <= 1:
            return [function(*step) for step in steps]
        return list(self.pool.map(lambda step: function(*step), steps))

    def blocks(self) -> Borders:
        """Borders between blocks of objects with about as many pixels each, four a thread but none too small."""
        count = max(1, min(4 * self.threads, len(self) // _BLOCK)) if self.threads > 1 else 1
        inner = np.searchsorted(self.offsets, np.linspace(0, self.offsets[-1], count + 1)[1:-1])
        return np.array([0, *np.unique(inner[(inner > 0) & (inner < len(self))]), len(self)])

    def image(self, channel: str) -> NDArray[Any]:
        """Pixels (Y, X) of `channel` as they came. Raises ChannelMissingError."""
        if channel not in self.channels:
            raise ChannelMissingError(
                f"no channel {channel!r} among: {', '.join(self.channels)}", remedy="name it in channels=[...]"
            )
        return self.images[self.channels.index(channel)]

    def scale(self, channel: str) -> float:
        """What pixels are divided by to lie in 0..1: the largest value of an integer type, 1 for floats."""
        kind = self.image(channel).dtype
        return 1.0 if kind.kind in "fb" else float(np.iinfo(kind).max)

    def values(self, channel: str) -> NDArray[np.float64]:
        """Scaled intensities of the object pixels of `channel`, in the order of `pixels`."""
        values = self.image(channel).ravel()[self.pixels]
        return np.asarray(np.divide(values, self.scale(channel), dtype=np.float64), np.float64)

    def single(self, channel: str) -> NDArray[np.float64]:
        """The same with integers divided in single precision, as CellProfiler does when it loads them."""
        values = self.image(channel).ravel()[self.pixels]
        if values.dtype.kind == "u":
            values = values.astype(np.float32) / np.float32(self.scale(channel))
        return values.astype(np.float64)

    def levels(self, channel: str) -> NDArray[np.int32]:
        """The same pixels unscaled where they are integers below 2**16; empty otherwise."""
        image = self.image(channel)
        if image.dtype.kind != "u" or image.dtype.itemsize > 2:
            return np.empty(0, np.int32)
        return image.ravel()[self.pixels].astype(np.int32)

    @cached_property
    def _grouped(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        return group(self.labels, len(self))

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Flat indices of all object pixels, object by object in raster order."""
        return self._grouped[0]

    @property
    def places(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Row and column of every object pixel, in the order of `pixels`."""
        return self._grouped[1:3]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Object i owns ``pixels[offsets[i]:offsets[i + 1]]``; n + 1 of them."""
        return self._grouped[3]

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each object."""
        return np.diff(self.offsets)

    @cached_property
    def thickness(self) -> NDArray[np.int64]:
        """Squared distance of every object pixel to the nearest one that is not of its object, or beyond the image."""
        out = np.empty(len(self.pixels), np.int64)
        rows, cols = self.places

        def some(start: int, stop: int) -> None:
            own = slice(self.offsets[start], self.offsets[stop])
            offsets = self.offsets[start : stop + 1] - own.start
            to_outside(rows[own], cols[own], offsets, self.boxes[start:stop], self.labels.shape, True, out[own])

        self.spread(some, self.blocks())
        return out

    @cached_property
    def depth(self) -> NDArray[np.int64]:
        """The same where the image border is no edge."""
        out = self.thickness.copy()
        to_outside(*self.places, self.offsets, self.boxes, self.labels.shape, False, out)
        return out

    @cached_property
    def hulls(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Convex hull vertices (row, column) of all objects, and the n + 1 borders between objects."""
        return hulls(*self.places, self.offsets, self.boxes)

    @cached_property
    def boxes(self) -> NDArray[np.int64]:
        """(n, 4): first row, first column, last row + 1, last column + 1."""
        return boxes(self.labels, len(self))


def _labels(labels: NDArray[Any], axes: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    if labels.dtype == bool:
        labels = labels.astype(np.int32)
    if labels.dtype.kind not in "iu":
        raise WrongDtypeError(f"labels are {labels.dtype}, not integers", remedy="labels.astype('int32')")
    if labels.ndim != len(axes):
        raise WrongShapeError(f"labels have shape {labels.shape}, not ({', '.join(axes)})")
    if not labels.size:
        raise EmptyError(f"labels of shape {labels.shape} have no pixels")
    if labels.min() < 0:
        raise WrongShapeError("labels hold negative numbers", remedy="0 is background, objects count from 1")
    if labels.max() > _LARGEST:
        raise TooLargeError(f"a label is over {_LARGEST}", remedy="renumber the objects from 1")
    return _consecutive(np.ascontiguousarray(labels, dtype=np.int32))


def _consecutive(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    largest = int(labels.max())
    # A table of all numbers up to the largest is the quick way, unless a few huge numbers would make it the large one.
    if largest <= 4 * labels.size:
        numbers = np.flatnonzero(present(labels, largest))[1:].astype(np.int64)
        if len(numbers) == largest:
            return numbers, labels
        return numbers, renumber(labels.reshape(len(labels), -1), numbers, largest).reshape(labels.shape)
    found, inverse = np.unique(labels, return_inverse=True)
    background = int(found[0] == 0)
    return found[background:].astype(np.int64), (inverse.reshape(labels.shape) + 1 - background).astype(np.int32)


def _stack(image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    stack = image[None] if image.ndim == len(shape) else image
    if stack.ndim != len(shape) + 1:
        axes = "Y, X" if len(shape) == 2 else "Z, Y, X"
        raise WrongShapeError(f"image has shape {image.shape}, not ({axes}) or (C, {axes})")
    if stack.shape[1:] != shape:
        raise WrongShapeError(
            f"image is {stack.shape[1:]} and labels are {shape}", remedy="both must be the same field"
        )
    if not len(stack):
        raise EmptyError(f"image of shape {image.shape} has no channel")
    return stack


def _names(channels: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if channels is None:
        return ("DNA",) if count == 1 else tuple(f"Ch{c + 1}" for c in range(count))
    if isinstance(channels, str):
        channels = (channels,)
    if len(channels) != count:
        raise ChannelMissingError(
            f"{len(channels)} channel names for {count} channels: {', '.join(channels)}", remedy="one name a channel"
        )
    if len(set(channels)) < count:
        raise ChannelMissingError(f"two channels share a name: {', '.join(channels)}", remedy="names must differ")
    return tuple(channels)


def _pixels(plane: NDArray[Any], name: str) -> NDArray[Any]:
    if plane.dtype.kind not in "ufb":
        raise WrongDtypeError(
            f"channel {name} has pixels of type {plane.dtype}", remedy="use unsigned integers, or floats in 0..1"
        )
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise NotFiniteError(f"channel {name} has NaN or infinite pixels", remedy="fill or crop them first")
    return np.ascontiguousarray(plane)
