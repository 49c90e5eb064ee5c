"""Predicting with a package: whole images in tiles, many images in batches, within a cap of memory."""

from __future__ import annotations

import math
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import (
    EmptyError,
    NotFiniteError,
    OverBudgetError,
    RecipeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.inference import sessions
from phenostream.inference.description import Axis, Size
from phenostream.inference.package import Package
from phenostream.inference.shelves import find
from phenostream.inference.tiling import Tile, cut, padded_window, shape_within, tiles

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from fractions import Fraction

    from numpy.typing import NDArray

    from phenostream.inference.sessions import Device

__all__ = ["Model", "load"]

_OVERLAP = 16
_PROBE = 64
_LARGEST_WINDOW = 2**22
_SPARE = 1.25


def load(package: Package | str | os.PathLike[str], *, device: Device = "auto", threads: int | None = None) -> Model:
    """A model of a package (or of a name or folder, see `find`), ready to predict.

    Args:
        package: what to load; its ONNX file is read and hashed once more.
        device: ``auto`` takes CUDA where ONNX Runtime has it, else the processor.
        threads: of one operation; by default as many as there are cores.

    Raises ChangedError where the ONNX file is no longer what was verified, DamagedError where ONNX Runtime refuses it,
    RecipeError for ``cuda`` without CUDA.
    """
    return Model(package if isinstance(package, Package) else find(package), device=device, threads=threads)


class Model:
    """A loaded package. Threads may share it; processes get it by pickling, and load it anew.

    Attributes:
        package: that it came from.
        device: ``cpu`` or ``cuda``.
        halo: pixels of the input that an output pixel looks at, an axis each; None where the image cannot be cut.
        stride: of which lengths are multiples, an axis each.
    """

    def __init__(self, package: Package, *, device: Device = "auto", threads: int | None = None) -> None:
        """Load; see `load`."""
        if threads is not None and threads < 1:
            raise RecipeError(f"{threads} threads cannot compute", remedy="give 1 or more, or None")
        self._asked: tuple[Device, int | None] = (device, threads)
        self.package = package
        self._onnx = package.read(package.description.weights.onnx.source)
        self._session = sessions.open_session(self._onnx, device=device, threads=threads)
        self.device = sessions.device_of(self._session)
        self._space = package.description.input.space
        self._ratios = package.description.ratios
        self.stride = tuple(_stride(axis) for axis in self._space)
        self.halo = self._halo() if package.description.own.tileable or not self._space else None
        self._check_grid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.package, *self._asked)

    def __repr__(self) -> str:
        return f"Model({self.package.name!r}, device={self.device!r})"

    def predict(
        self,
        image: Any,
        *,
        tile: int | Sequence[int] | None = None,
        memory_mb: float = 1024,
        overlap: int = _OVERLAP,
        out: Mapping[str, Any] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """What the model says of one image, tile by tile where it must be, equal to the whole at once within 1e-4.

        Args:
            image: (C, Y, X) or (C, Z, Y, X), integers or floats; an array, or anything with `shape`, `dtype` and slices
                (memory map, HDF5, Zarr) of which only windows are read.
            tile: lengths of a window, halo included; by default the largest that `memory_mb` allows.
            memory_mb: cap on what predicting needs on top of `image`, the loaded model and the result, in megabytes.
            overlap: pixels over which neighbouring tiles are blended.
            out: by output name, arrays of the result's shape to write into (a memory map or HDF5 dataset, where even the
                result does not fit into memory).

        Returns:
            By output name: (C, [Z,] Y, X), or (C,) for outputs without space; those of `out` where given.

        Raises WrongShapeError, WrongDtypeError, EmptyError and NotFiniteError for images that do not fit, OverBudgetError
        where the cap is too small.
        """
        self._check_image(image)
        lengths = self._padded(image.shape[1:])
        windows = self._windows(lengths, tile, memory_mb, overlap)
        if windows == lengths:
            return self._whole(image, lengths, out)
        return self._in_tiles(image, lengths, windows, overlap, out)

    def predict_many(
        self, images: Iterable[Any], *, memory_mb: float = 1024, batch_size: int = 16
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """As `predict`, image by image in their order; neighbours of one shape go through the graph together."""
        waiting: list[Any] = []
        for image in images:
            self._check_image(image)
            if waiting and (
                image.shape != waiting[0].shape or len(waiting) >= self._fitting(image, memory_mb, batch_size)
            ):
                yield from self._together(waiting, memory_mb)
                waiting = []
            waiting.append(image)
        if waiting:
            yield from self._together(waiting, memory_mb)

    def batch(
        self, images: NDArray[Any], *, output: str | None = None, batch_size: int = 32, memory_mb: float = 1024
    ) -> NDArray[Any]:
        """One output (the first by default) for images of one shape that the graph takes as they are.

        Args:
            images: (N, C, [Z,] Y, X); N may be 0 where the graph tells the shape of its output.
            output: name.
            batch_size: images that go through the graph together, fewer where `memory_mb` wants it.
            memory_mb: cap as of `predict`.

        Returns:
            (N, ...).
        """
        self._check_batch(images)
        place = self._place(output)
        if not len(images):
            return self._nothing(place)
        size = self._fitting(images[0], memory_mb, batch_size)
        parts = [self._run(images[at : at + size])[place] for at in range(0, len(images), size)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    @cached_property
    def cost(self) -> tuple[float, float]:
        """Bytes that the graph needs for one image: fixed, and a pixel of the input. An upper bound, from two probes."""
        shapes = [self._probe(_PROBE), self._probe(2 * _PROBE)]
        sizes = [math.prod(shape) for shape in shapes]
        zeros = [np.zeros((1, len(self.package.channels), *shape), self._dtype) for shape in shapes]
        small, large = (
            (sessions.activation_bytes(self._onnx, one) for one in zeros[: 1 + (sizes[1] > sizes[0])])
            if (sizes[1] > sizes[0])
            else (0, sessions.activation_bytes(self._onnx, zeros[0]))
        )
        slope = (large - small) / (sizes[1] - sizes[0]) if sizes[1] > sizes[0] else large / max(sizes[0], 1)
        return max(0.0, large - slope * sizes[-1]) * _SPARE, slope * _SPARE

    # What images must be

    def _check_image(self, image: Any) -> None:
        want = f"({len(self.package.channels)}, {', '.join(axis.id.upper() for axis in self._space)})"
        shape = tuple(getattr(image, "shape", ()))
        if len(shape) != 1 + len(self._space) or shape[0] != len(self.package.channels):
            raise WrongShapeError(
                f"{self.package.name} takes images of shape {want}, not {shape}",
                remedy=f"its channels are {', '.join(self.package.channels)}",
            )
        if 0 in shape:
            raise EmptyError(f"the image has no pixels: shape {shape}")
        _check_dtype(image.dtype)

    def _check_batch(self, images: Any) -> None:
        shape = tuple(getattr(images, "shape", ()))
        if len(shape) != 2 + len(self._space) or shape[1] != len(self.package.channels) or 0 in shape[1:]:
            raise WrongShapeError(
                f"{self.package.name} takes batches (N, {len(self.package.channels)}, ...) with {len(self._space)} axes"
                f" of space, not {shape}",
                remedy=f"its channels are {', '.join(self.package.channels)}",
            )
        for axis, length in zip(self._space, shape[2:], strict=True):
            if isinstance(axis.size, int) and axis.size != length:
                raise WrongShapeError(f"{self.package.name} takes {axis.size} pixels along {axis.id}, not {length}")
        _check_dtype(images.dtype)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.package.graph.inputs[0].dtype)

    def _fed(self, images: NDArray[Any]) -> NDArray[Any]:
        """A batch in the graph's own type."""
        if images.dtype.kind == "f" and not np.isfinite(images).all():
            raise NotFiniteError("the image holds NaN or infinite values", remedy="fill or reject them before")
        if self._dtype.kind == "u" and not np.can_cast(images.dtype, self._dtype):
            raise WrongDtypeError(f"{self.package.name} takes {self._dtype}, not {images.dtype}")
        return np.ascontiguousarray(images, dtype=self._dtype)

    def _run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        if self.package.graph.inputs[0].shape[0] == 1 and len(images) > 1:
            each = [sessions.run(self._session, self._fed(images[at : at + 1])) for at in range(len(images))]
            return [np.concatenate(parts) for parts in zip(*each, strict=True)]
        return sessions.run(self._session, self._fed(images))

    # Lengths, windows and their memory

    def _halo(self) -> tuple[int, ...]:
        """The farthest look of all outputs, in pixels of the input, as multiples of the stride."""
        halos = []
        for place, stride in enumerate(self.stride):
            wanted = [
                math.ceil((tensor.space[place].halo or 0) / self._ratios[tensor.id][place])
                for tensor in self.package.description.outputs
                if tensor.space
            ]
            halos.append(-(-max(wanted, default=0) // stride) * stride)
        return tuple(halos)

    def _check_grid(self) -> None:
        for name, ratios in self._ratios.items():
            if any((ratio * stride).denominator != 1 for ratio, stride in zip(ratios, self.stride, strict=False)):
                raise WrongShapeError(f"output {name} of {self.package.name} does not fall on the grid of its stride")

    def _padded(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(_fitting_length(axis, length) for axis, length in zip(self._space, shape, strict=True))

    def _windows(
        self, lengths: tuple[int, ...], tile: int | Sequence[int] | None, memory_mb: float, overlap: int
    ) -> tuple[int, ...]:
        if overlap < 0:
            raise RecipeError(f"an overlap of {overlap} pixels cannot be", remedy="give 0 or more")
        if tile is not None:
            told = [tile] * len(lengths) if isinstance(tile, int) else list(tile)
            if len(told) != len(lengths) or min(told) < 1:
                raise WrongShapeError(f"tile {tile} does not fit {len(lengths)} axes of space")
            return tuple(
                axis.size if isinstance(axis.size, int) else min(length, _fitting_length(axis, one))
                for axis, length, one in zip(self._space, lengths, told, strict=True)
            )
        if all(isinstance(axis.size, int) for axis in self._space):
            return tuple(int(axis.size) for axis in self._space)  # type: ignore[arg-type]
        return self._affordable(lengths, memory_mb)

    def _affordable(self, lengths: tuple[int, ...], memory_mb: float) -> tuple[int, ...]:
        fixed, each = self.cost
        pixels = (memory_mb * 1e6 - fixed) / each
        if math.prod(lengths) <= min(pixels, _LARGEST_WINDOW) or (self.halo is None and math.prod(lengths) <= pixels):
            return lengths
        least = self._least(lengths)
        windows = shape_within(lengths, self.stride, min(pixels, _LARGEST_WINDOW))
        if any(window < small for window, small in zip(windows, least, strict=True)):
            needed = (fixed + each * math.prod(least)) / 1e6
            raise OverBudgetError(
                f"{self.package.name} needs {needed:,.0f} MB for one tile, over the cap of {memory_mb:,.0f} MB",
                remedy=f"give memory_mb={math.ceil(needed)}",
            )
        return windows

    def _least(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """The shortest windows that get on: the whole image where it cannot be cut."""
        if self.halo is None:
            return lengths
        return tuple(
            min(length, 2 * halo + 3 * _up(_OVERLAP, stride))
            for length, halo, stride in zip(lengths, self.halo, self.stride, strict=True)
        )

    def _probe(self, length: int) -> tuple[int, ...]:
        return tuple(
            _fitting_length(axis, length if place else min(length, 2 * _PROBE))
            for place, axis in enumerate(self._space)
        )

    def _fitting(self, image: Any, memory_mb: float, most: int) -> int:
        fixed, each = self.cost
        return max(1, min(most, int(memory_mb * 1e6 / (fixed + each * math.prod(image.shape[1:])))))

    # Prediction

    def _whole(self, image: Any, lengths: tuple[int, ...], out: Mapping[str, Any] | None) -> dict[str, NDArray[Any]]:
        window = padded_window(image, [(0, length) for length in lengths])
        found = self._run(window[None])
        told = {
            name: self._cropped(name, one[0], image.shape[1:])
            for name, one in zip(self.package.outputs, found, strict=True)
        }
        for name, target in (out or {}).items():
            target[...] = told[name]
            told[name] = target
        return told

    def _cropped(self, name: str, found: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
        ratios = self._ratios[name]
        return found[
            (slice(None), *(slice(0, math.ceil(one * ratio)) for one, ratio in zip(shape, ratios, strict=False)))
        ]

    def _in_tiles(
        self,
        image: Any,
        lengths: tuple[int, ...],
        windows: tuple[int, ...],
        overlap: int,
        out: Mapping[str, Any] | None,
    ) -> dict[str, NDArray[Any]]:
        if self.halo is None or not all(self._ratios.values()):
            raise WrongShapeError(
                f"{self.package.name} looks at the whole image and cannot be given tiles",
                remedy="raise memory_mb, or bin the image",
            )
        overlaps = [_up(overlap, stride) for stride in self.stride]
        told: dict[str, Any] = dict(out or {})
        for tile in tiles(lengths, windows, self.halo, overlaps):
            found = self._run(padded_window(image, tile.window)[None])
            for name, one in zip(self.package.outputs, found, strict=True):
                if name not in told:
                    told[name] = np.empty(self._shape(name, one.shape[1], image.shape[1:]), _blended(one.dtype))
                self._lay(told[name], name, one[0], tile, image.shape[1:])
        return {name: told[name] for name in self.package.outputs}

    def _shape(self, name: str, channels: int, shape: Sequence[int]) -> tuple[int, ...]:
        return (channels, *(math.ceil(one * ratio) for one, ratio in zip(shape, self._ratios[name], strict=True)))

    def _lay(self, target: Any, name: str, found: NDArray[Any], tile: Tile, shape: Sequence[int]) -> None:
        """Add a tile to the result; what no earlier tile has written is written, not added to."""
        whole = self._shape(name, len(found), shape)[1:]
        axes = list(cut(tile, self._ratios[name], whole))
        inner, outer = (tuple(axis[side] for axis in axes) for side in (0, 1))
        weights = reduce(np.multiply.outer, (axis[2] for axis in axes))
        part = found[(slice(None), *inner)] * weights
        fresh = tuple(
            slice(int(span.rise * ratio), None) for span, ratio in zip(tile.spans, self._ratios[name], strict=True)
        )
        before = (
            np.array(target[(slice(None), *outer)]) if any(span.rise for span in tile.spans) else np.zeros_like(part)
        )
        before[(slice(None), *fresh)] = 0
        target[(slice(None), *outer)] = before + part

    def _together(self, images: Sequence[Any], memory_mb: float) -> Iterator[dict[str, NDArray[Any]]]:
        if len(images) == 1:
            yield self.predict(images[0], memory_mb=memory_mb)
            return
        window = [(0, length) for length in self._padded(images[0].shape[1:])]
        found = self._run(np.stack([padded_window(image, window) for image in images]))
        for place, image in enumerate(images):
            yield {
                name: self._cropped(name, one[place], image.shape[1:])
                for name, one in zip(self.package.outputs, found, strict=True)
            }

    def _place(self, output: str | None) -> int:
        names = self.package.outputs
        if output is not None and output not in names:
            raise RecipeError(f"{self.package.name} has no output {output!r}", remedy=f"it has {', '.join(names)}")
        return 0 if output is None else names.index(output)

    def _nothing(self, place: int) -> NDArray[Any]:
        value = self.package.graph.outputs[place]
        if None in value.shape[1:]:
            raise EmptyError("there are no images, and the graph does not tell the shape of its output")
        return np.empty((0, *(length or 0 for length in value.shape[1:])), value.dtype or "float32")


def _again(package: Package, device: Device, threads: int | None) -> Model:
    return Model(package, device=device, threads=threads)


def _check_dtype(dtype: Any) -> None:
    kind = np.dtype(dtype)
    if kind.kind not in "uif" or kind.itemsize > 8:
        raise WrongDtypeError(f"an image of {kind} cannot be predicted on", remedy="give integers or floats")


def _blended(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.kind == "f" else np.dtype(np.float32)


def _stride(axis: Axis) -> int:
    return axis.size.step if isinstance(axis.size, Size) else 1


def _up(length: int, stride: int) -> int:
    return -(-length // stride) * stride


def _fitting_length(axis: Axis, length: int) -> int:
    """The shortest length from `length` on that the axis may have."""
    if isinstance(axis.size, Size):
        return axis.size.min + _up(max(0, length - axis.size.min), axis.size.step)
    return max(length, axis.size) if isinstance(axis.size, int) else length
