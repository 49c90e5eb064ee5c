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
from phenostream.inference.frame import Frame, up
from phenostream.inference.memory import Cost, cost_of
from phenostream.inference.package import Package
from phenostream.inference.shelves import find
from phenostream.inference.tiling import Tile, balanced, cut, padded_window, shape_within, tiles

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.inference.sessions import Device

__all__ = ["Model", "load"]

_OVERLAP = 16


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
        frame: lengths it takes, how far it looks, where its outputs fall.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, package: Package, *, device: Device = "auto", threads: int | None = None) -> None:
        """Load; see `load`."""
        if threads is not None and threads < 1:
            raise RecipeError(f"{threads} threads cannot compute", remedy="give 1 or more, or None")
        self._asked: tuple[Device, int | None] = (device, threads)
        self.package = package
        self.frame = Frame.of(package.description)
        self._onnx = package.read(package.description.weights.onnx.source)
        self._session = sessions.open_session(self._onnx, device=device, threads=threads)
        self.device = sessions.device_of(self._session)

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
                (memory map, HDF5, Zarr), of which one window at a time is read.
            tile: lengths of a window, halo included; by default the largest that `memory_mb` allows.
            memory_mb: cap on what predicting needs on top of `image`, the loaded model and the result, in megabytes.
            overlap: pixels over which neighbouring tiles are blended, where they hold floats.
            out: by output name, arrays of the result's shape to write into (a memory map or HDF5 dataset, where even
                the result does not fit into memory).

        Returns:
            By output name: (C, [Z,] Y, X), or (C,) for outputs without space; those of `out` where given.

        Raises WrongShapeError, WrongDtypeError, EmptyError and NotFiniteError for images that do not fit,
        OverBudgetError where the cap is too small.
        """
        self._check_image(image)
        if overlap < 0:
            raise RecipeError(f"an overlap of {overlap} pixels cannot be", remedy="give 0 or more")
        targets = self._targets(image.shape[1:], out or {})
        lengths = self.frame.padded(image.shape[1:])
        window = self._affordable(lengths, memory_mb, overlap) if tile is None else self.frame.window(lengths, tile)
        if window == lengths:
            found = self._run(padded_window(image, [(0, length) for length in lengths])[None])
            return {name: self._kept(name, found, 0, image, targets) for name in self.package.outputs}
        return self._in_tiles(image, self._tiles(lengths, window, overlap), targets)

    def predict_many(
        self, images: Iterable[Any], *, memory_mb: float = 1024, batch_size: int = 16
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """As `predict`, image by image in their order; neighbours of one shape go through the graph together.

        Args:
            images: each as of `predict`; taken one by one, at most `batch_size` are held.
            memory_mb: cap as of `predict`, for a batch.
            batch_size: images that go through the graph together, fewer where the cap wants it.
        """
        waiting: list[Any] = []
        for image in images:
            self._check_image(image)
            if waiting and image.shape != waiting[0].shape:
                yield from self._together(waiting, memory_mb)
                waiting = []
            waiting.append(image)
            if len(waiting) >= self._fitting(self.frame.padded(image.shape[1:]), memory_mb, batch_size):
                yield from self._together(waiting, memory_mb)
                waiting = []
        if waiting:
            yield from self._together(waiting, memory_mb)

    def batch(
        self, images: NDArray[Any], *, output: str | None = None, batch_size: int = 32, memory_mb: float = 1024
    ) -> NDArray[Any]:
        """One output for images of one shape that the graph takes as they are: no padding, no tiles.

        Args:
            images: (N, C, [Z,] Y, X); N may be 0 where the graph tells the shape of its output.
            output: name; the first by default.
            batch_size: images that go through the graph together, fewer where `memory_mb` wants it.
            memory_mb: cap as of `predict`, for a batch.

        Returns:
            (N, ...).
        """
        self._check_batch(images)
        place = self._place(output)
        if not len(images):
            return self._nothing(place)
        size = self._fitting(images.shape[2:], memory_mb, batch_size)
        parts = [self._run(images[at : at + size])[place] for at in range(0, len(images), size)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    @cached_property
    def cost(self) -> Cost:
        """Upper bound on the memory of one image; probed once."""
        return cost_of(self._onnx, self.frame, len(self.package.channels), self._dtype)

    # Lengths, windows and their memory

    def _affordable(self, lengths: tuple[int, ...], memory_mb: float, overlap: int) -> tuple[int, ...]:
        """The largest window within the cap: the whole image where that fits."""
        if any(self.frame.fixed):
            return self.frame.window(lengths, lengths)
        pixels = self.cost.pixels(memory_mb * 1e6)
        if math.prod(lengths) <= pixels:
            return lengths
        least = self.frame.least(lengths, overlap)
        window = shape_within(lengths, self.frame.stride, pixels)
        if any(one < small for one, small in zip(window, least, strict=True)):
            needed = self.cost.bytes(math.prod(least)) / 1e6
            whole = "" if self.frame.cuttable else " (it looks at the whole image, which cannot be cut)"
            raise OverBudgetError(
                f"{self.package.name} needs {needed:,.0f} MB for a window of {least}, over the cap of"
                f" {memory_mb:,.0f} MB{whole}",
                remedy=f"give memory_mb={math.ceil(needed)}, or a smaller image",
            )
        return window

    def _fitting(self, lengths: Sequence[int], memory_mb: float, most: int) -> int:
        """Images of these lengths that go through the graph together."""
        return max(1, min(most, int(memory_mb * 1e6 / self.cost.bytes(math.prod(lengths)))))

    def _tiles(self, lengths: tuple[int, ...], window: tuple[int, ...], overlap: int) -> list[Tile]:
        frame = self.frame
        if frame.halo is None or not frame.cuttable:
            raise WrongShapeError(
                f"{self.package.name} looks at the whole image and cannot be given tiles",
                remedy="leave tile out and raise memory_mb, or give a smaller image",
            )
        overlaps = [up(overlap, stride) for stride in frame.stride]
        even = [
            one if fixed else balanced(length, one, halo, shared, stride)
            for length, one, halo, shared, stride, fixed in zip(
                lengths, window, frame.halo, overlaps, frame.stride, frame.fixed, strict=True
            )
        ]
        return tiles(lengths, even, frame.halo, overlaps)

    # Prediction

    def _run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """All outputs of a batch, one image at a time where the graph takes no more."""
        fed = self._fed(images)
        if self.package.graph.inputs[0].shape[0] == 1 and len(fed) > 1:
            each = [sessions.run(self._session, fed[at : at + 1]) for at in range(len(fed))]
            return [np.concatenate(parts) for parts in zip(*each, strict=True)]
        return sessions.run(self._session, fed)

    def _fed(self, images: NDArray[Any]) -> NDArray[Any]:
        """A batch in the graph's own type."""
        if images.dtype.kind == "f" and not np.isfinite(images).all():
            raise NotFiniteError("the image holds NaN or infinite values", remedy="fill or reject them before")
        if self._dtype.kind == "u" and not np.can_cast(images.dtype, self._dtype):
            raise WrongDtypeError(f"{self.package.name} takes {self._dtype}, not {images.dtype}")
        with np.errstate(over="ignore"):
            fed = np.ascontiguousarray(images, dtype=self._dtype)
        narrower = self._dtype.kind == "f" and not np.can_cast(images.dtype, self._dtype)
        if narrower and not np.isfinite(fed).all():
            raise NotFiniteError(
                f"the image holds values beyond {np.finfo(self._dtype).max:g}, the largest of the {self._dtype} that"
                f" {self.package.name} takes",
                remedy="scale it before, or export the model with float32 inputs",
            )
        return fed

    def _kept(
        self, name: str, found: list[NDArray[Any]], place: int, image: Any, targets: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        """What is left of an output of image `place` of a batch when padding is cropped."""
        ends = self.frame.output_shape(name, image.shape[1:])
        kept: NDArray[Any] = found[self._place(name)][place][(slice(None), *(slice(0, end) for end in ends))]
        if name in targets:
            targets[name][...] = kept
        return targets.get(name, kept)

    def _in_tiles(self, image: Any, cuts: Sequence[Tile], targets: dict[str, Any]) -> dict[str, NDArray[Any]]:
        for tile in cuts:
            found = self._run(padded_window(image, tile.window)[None])
            for name, one in zip(self.package.outputs, found, strict=True):
                shape = self.frame.output_shape(name, image.shape[1:])
                if name not in targets:
                    targets[name] = np.empty((one.shape[1], *shape), one.dtype)
                self._lay(targets[name], name, one[0], tile, shape)
        return {name: targets[name] for name in self.package.outputs}

    def _lay(self, target: Any, name: str, found: NDArray[Any], tile: Tile, shape: Sequence[int]) -> None:
        """Add a tile to the result; where no earlier tile has been, what lies there is forgotten."""
        ratios = self.frame.ratios[name]
        inner, outer, weights = zip(*cut(tile, ratios, shape), strict=True)
        part = found[(slice(None), *inner)]
        if part.dtype.kind == "f":  # classes have no mean
            part = part * reduce(np.multiply.outer, weights)
            if any(span.rise for span in tile.spans):
                before = np.array(target[(slice(None), *outer)])
                fresh = (slice(int(span.rise * ratio), None) for span, ratio in zip(tile.spans, ratios, strict=True))
                before[(slice(None), *fresh)] = 0
                part += before
        target[(slice(None), *outer)] = part

    def _together(self, images: Sequence[Any], memory_mb: float) -> Iterator[dict[str, NDArray[Any]]]:
        lengths = self.frame.padded(images[0].shape[1:])
        if len(images) == 1 or lengths != self.frame.nearest(images[0].shape[1:]):
            yield from (self.predict(image, memory_mb=memory_mb) for image in images)
            return
        window = [(0, length) for length in lengths]
        found = self._run(np.stack([padded_window(image, window) for image in images]))
        for place, image in enumerate(images):
            yield {name: self._kept(name, found, place, image, {}) for name in self.package.outputs}

    # What must fit

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.package.graph.inputs[0].dtype)

    def _check_image(self, image: Any) -> None:
        shape = tuple(getattr(image, "shape", ()))
        self._check_shape(shape, shape[:1], shape[1:])
        _check_dtype(image.dtype)

    def _check_batch(self, images: Any) -> None:
        shape = tuple(getattr(images, "shape", ()))
        self._check_shape(shape, shape[1:2], shape[2:])
        if (wanted := self.frame.nearest(shape[2:])) != shape[2:]:
            raise WrongShapeError(
                f"{self.package.name} does not take images of {shape[2:]} pixels as they are",
                remedy=f"cut or pad them to {wanted}, or use predict",
            )
        _check_dtype(images.dtype)

    def _check_shape(self, shape: tuple[int, ...], channels: tuple[int, ...], space: tuple[int, ...]) -> None:
        wanted = self.package.channels
        if channels != (len(wanted),) or len(space) != len(self.frame.names):
            raise WrongShapeError(
                f"{self.package.name} takes images ({', '.join([str(len(wanted)), *self.frame.names])}), not {shape}",
                remedy=f"its channels are {', '.join(wanted)}",
            )
        if 0 in space:
            raise EmptyError(f"the image has no pixels: shape {shape}")

    def _targets(self, space: Sequence[int], out: Mapping[str, Any]) -> dict[str, Any]:
        for name, target in out.items():
            tensor = self.package.description.outputs[self._place(name)]
            wanted = (len(tensor.channels), *self.frame.output_shape(name, space))
            if tuple(target.shape) != wanted:
                raise WrongShapeError(f"out[{name!r}] has the shape {tuple(target.shape)}, not {wanted}")
        return dict(out)

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
    if kind.kind not in "uif":
        raise WrongDtypeError(f"an image of {kind} cannot be predicted on", remedy="give integers or floats")
