"""One unit's work, in a worker: captured bytes in, the bytes of a part out. Pure but for reading its bundle."""

from __future__ import annotations

import json
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from phenostream import features, formats, images, objects, profiles, values
from phenostream.errors import (
    EmptyError,
    OutOfRangeError,
    OverBudgetError,
    PhenostreamError,
    StepError,
    WrongShapeError,
)
from phenostream.sources.capture import CapturedStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

# A worker before its first pixel: libraries, compiled code, and what its allocators keep (measured, rounded up).
WORKER_BYTES = 320 * 1024 * 1024
_COMMON = (2160, 2160)  # px (Y, X), as sCMOS cameras have
# Working memory on top (measured, rounded up): planes of float64 while one channel is segmented, the field as read and
# corrected, and full-size models of two plates.
_PLANES = 9
_COPIES = 3
_PLATES = 2


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs for one unit.

    Attributes:
        field: the field, without pixels.
        bundle: folder of its captured bytes.
        steps: the recipe's steps as canonical JSON (the key under which a worker keeps its models).
        fits: illumination model of each channel, by channel name: its path, or its bytes where paths lead nowhere.
        memory: bytes that this unit may use.
    """

    field: values.Field
    bundle: str
    steps: str
    fits: Mapping[str, str | bytes]
    memory: int = 0

    def at(self, bundle: Path) -> Task:
        """The same task, its bytes captured in `bundle`."""
        return replace(self, bundle=str(bundle))


@dataclass(frozen=True, slots=True)
class Product:
    """A finished unit: the bytes of its part, its row count, quality figures and seconds by stage."""

    payload: bytes
    rows: int
    qc: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Tools:
    correct: images.IlluminationSettings
    segmenter: objects.Segmenter
    segment: Any
    measure: features.MeasureSettings
    embedder: features.Embedder | None
    output: dict[str, Any]


@lru_cache(maxsize=4)
def _tools(steps: str) -> _Tools:
    told = json.loads(steps)
    segment = objects.settings(told["segment"])
    measure = features.MeasureSettings(**told["measure"])
    return _Tools(
        images.IlluminationSettings(**told["correct"]),
        # One thread here and below: workers share the cores, and sums in another order would be other bytes.
        objects.build(objects.for_one_core(segment)),
        segment,
        measure,
        features.Embedder(measure.deep, threads=1) if measure.deep else None,
        told["output"],
    )


@lru_cache(maxsize=_PLATES)
def _models(fits: tuple[tuple[str, str | bytes], ...]) -> dict[str, images.IlluminationModel]:
    """The models of one plate by channel; a worker keeps those of as many plates as are in work at a time."""
    make = images.IlluminationModel
    return {name: make.from_bytes(fit) if isinstance(fit, bytes) else make.load(fit) for name, fit in fits}


def process(task: Task) -> Product:
    """Read, correct, segment, measure and compile one field.

    Raises:
        PhenostreamError: with the plate, well, site, frame and step where it happened; an unforeseen exception comes
            as StepError with its name and text.
    """
    clock = _Clock(task.field.id)
    tools = _tools(task.steps)
    store = CapturedStore(Path(task.bundle))
    with clock.stage("read"):
        pixels = formats.attach(task.field, store).read()
        _check_memory(pixels, task, tools)
    with clock.stage("correct"):
        corrected = _correct(pixels, task, tools.correct, store)
        seen = task.field.with_pixels(lambda: corrected)
    with clock.stage("segment"):
        found = objects.run(tools.segmenter, seen, store)
        parts = objects.compartments(found, seen, tools.segment.cells, store)
    with clock.stage("measure"):
        channels = tuple(channel.name for channel in task.field.channels)
        labels = parts if len(parts) > 1 else found.labels
        table = features.measure(corrected, labels, channels, settings=tools.measure)
        qc = _quality(pixels, corrected, found, channels)
    if tools.embedder:
        with clock.stage("embed"):
            embedded = tools.embedder.table(corrected, found.labels, channels, compartment=tools.measure.compartment)
            table = features.beside(table, embedded)
    with clock.stage("write"):
        payload, rows = _compile(seen, found, table, corrected, tools)
    return Product(payload, rows, qc, clock.seconds)


@dataclass(frozen=True, slots=True)
class Shrunk:
    """One sampled field at working size: float32 (C, w, w), and the shape (Y, X) that it had."""

    planes: NDArray[np.float32]
    shape: tuple[int, int]


def shrink(task: Task) -> Shrunk:
    """Read one sampled field and keep only what the illumination fit looks at."""
    clock = _Clock(task.field.id)
    with clock.stage("read"):
        pixels = formats.attach(task.field, CapturedStore(Path(task.bundle))).read()
        _check_memory(pixels, task)
    with clock.stage("fit"):
        size = _tools(task.steps).correct.working_size
        return Shrunk(np.stack([images.shrink(plane, size) for plane in pixels]), (pixels.shape[1], pixels.shape[2]))


def fit(planes: NDArray[np.float32], shape: tuple[int, int], steps: str) -> bytes:
    """Fit one channel's illumination from shrunk planes (N, w, w); the bytes of the saved model."""
    settings = _tools(steps).correct
    model = images.fit_illumination(planes, settings.darkfield, working_size=settings.working_size, shape=shape)
    return model.to_bytes()


class _Clock:
    """Seconds by stage, and the place on every error that leaves a stage."""

    def __init__(self, name: values.FieldId) -> None:
        self.seconds: dict[str, float] = {}
        self._name = name

    @contextmanager
    def stage(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        place = {
            "step": step, "plate": self._name.plate, "well": self._name.well,
            "site": self._name.site, "frame": self._name.time + 1,
        }  # fmt: skip
        try:
            yield
        except PhenostreamError as error:
            raise error.at(**place) from error.__cause__
        except MemoryError as error:
            raise OverBudgetError("out of memory", remedy="lower stream.workers, or raise the cap").at(
                **place
            ) from error
        except Exception as error:
            raise StepError(f"{type(error).__name__}: {error}", remedy="please report it").at(**place) from error
        self.seconds[step] = time.perf_counter() - start


def worker_bytes(steps: str) -> int:
    """Bytes for which a worker is reckoned before a field is seen: for one channel of a common camera.

    Args:
        steps: of the recipe, canonical.
    """
    return max(2 * WORKER_BYTES, _needed((1, *_COMMON), 2, 1, _tools(steps)))


def _needed(shape: tuple[int, ...], itemsize: int, fits: int, tools: _Tools | None) -> int:
    """Bytes that a worker needs at most for a field (C, Y, X) of `shape`, with so many models a plate."""
    plane = math.prod(shape[1:]) * 8
    bare = WORKER_BYTES + _PLANES * plane + _COPIES * math.prod(shape) * itemsize + _PLATES * fits * plane
    if tools is None:
        return bare
    embedding = tools.embedder.memory if tools.embedder else 0
    return bare + objects.memory_of(tools.segmenter, (shape[1], shape[2])) + embedding


def _check_memory(pixels: NDArray[Any], task: Task, tools: _Tools | None = None) -> None:
    needed = _needed(pixels.shape, pixels.itemsize, len(task.fits), tools)
    if (cap := task.memory) and needed > cap:
        raise OverBudgetError(
            f"a field of {pixels.shape} needs about {needed:,} bytes of memory, a worker may use {cap:,}",
            remedy="raise stream.memory or lower stream.workers",
        )


def _correct(
    pixels: NDArray[Any], task: Task, settings: images.IlluminationSettings, store: values.Store
) -> NDArray[Any]:
    if settings.method == "none":
        return pixels
    if settings.method == "idrstream":
        return np.stack([_idrstream(plane, store) for plane in task.field.planes])
    corrected = []
    models = _models(tuple(sorted(task.fits.items())))
    for channel, plane in zip(task.field.channels, pixels, strict=True):
        model = models[channel.name]
        if model.flatfield.shape != plane.shape:
            raise WrongShapeError(
                f"a field of {plane.shape} cannot be corrected by the plate's model of {model.flatfield.shape}",
                remedy="fields of one plate must share one size",
            )
        corrected.append(model.apply(plane))
    return np.stack(corrected)


def _idrstream(plane: values.Plane, store: values.Store) -> NDArray[np.uint8]:
    window = window_of(plane, store)
    stack = images.idrstream(np.stack([formats.read(store, one) for one in window]))
    corrected: NDArray[np.uint8] = stack[[one.t for one in window].index(plane.t)]
    return corrected


def window_of(plane: values.Plane, store: values.Store, length: int = 3) -> list[values.Plane]:
    """The frames that idrstream corrects together: f, f+1, f+2, or the last three where f is too near the end.

    Raises:
        EmptyError: the movie has fewer than `length` frames.
    """
    last = plane.t
    while last < plane.t + length - 1:
        try:
            formats.touch(store, replace(plane, t=last + 1))
        except OutOfRangeError:
            break
        last += 1
    first = last - length + 1
    if first < 0:
        raise EmptyError(
            f"idrstream's correction needs {length} frames, the movie has {last + 1}",
            remedy="use `correct: {method: basic}` or `none`",
        )
    window = [replace(plane, t=t) for t in range(first, last + 1)]
    for one in window:
        formats.touch(store, one)
    return window


def _quality(
    pixels: NDArray[Any], corrected: NDArray[Any], found: values.Objects, channels: tuple[str, ...]
) -> dict[str, float]:
    figures = {"n_objects": float(len(found.numbers()))}
    for name, raw, plane in zip(channels, pixels, corrected, strict=True):
        told = images.quality(plane)
        if np.issubdtype(raw.dtype, np.integer):  # corrected pixels no longer lie at the camera's limit
            told["saturated"] = float((raw >= np.iinfo(raw.dtype).max).mean())
        figures |= {f"{figure}_{name}": float(value) for figure, value in told.items()}
    return figures


def _compile(
    seen: values.Field,
    found: values.Objects,
    table: Any,
    corrected: NDArray[Any],
    tools: _Tools,
) -> tuple[bytes, int]:
    output = tools.output
    outlines = objects.outlines(found.labels) if output["outlines"] else None
    rows = profiles.rows(seen, found, table, outlines)
    metadata = {"phenostream.field": profiles.field_json(seen)}
    if tools.embedder:
        metadata["phenostream.embedding"] = json.dumps(tools.embedder.identity, sort_keys=True).encode()
    if output["thumbnail"]:
        # Lossy on purpose: a picture to look at, a tenth of the bytes of a lossless one; the footer is not compressed.
        small = np.atleast_3d(images.thumbnail(corrected, side=output["thumbnail"]))
        small = np.broadcast_to(small, (*small.shape[:2], 3))
        metadata["phenostream.thumbnail"] = bytes(imagecodecs.webp_encode(np.ascontiguousarray(small), level=70))
    return profiles.part_bytes(rows, metadata=metadata), rows.num_rows
