"""The exam of readers: what every module of `phenostream.formats`, and every reader from outside, must do."""

# ruff: noqa: S101  (an exam asserts)

from __future__ import annotations

import dataclasses
import pickle
import random
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from phenostream import formats
from phenostream.errors import (
    HostileError,
    NotFoundError,
    OutOfRangeError,
    PhenostreamError,
)
from phenostream.values import Plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.values import Container, Field

__all__ = ["MemoryStore", "ReaderExam", "cells"]


class MemoryStore:
    """A store in memory that counts what is read from it, and can be damaged.

    Attributes:
        blobs: content by key; change it at will.
        traffic: every read that found its blob: key and bytes given.
        asked: every key asked for, absent ones too.
    """

    def __init__(self, blobs: Mapping[str, bytes]) -> None:
        """Serve `blobs`."""
        self.blobs = dict(blobs)
        self.traffic: list[tuple[str, int]] = []
        self.asked: list[str] = []

    @classmethod
    def of(cls, folder: Path) -> MemoryStore:
        """All files below `folder`."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryStore, (self.blobs,)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `phenostream.values.Store`."""
        data = self._blob(key)[start:stop]
        self.traffic.append((key, len(data)))
        return data

    def size(self, key: str) -> int:
        """See `phenostream.values.Store`."""
        return len(self._blob(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.values.Store`."""
        return iter(sorted(key for key in self.blobs if not prefix or key.startswith(prefix.rstrip("/") + "/")))

    def bytes_of(self, action: Any) -> int:
        """Bytes that `action` reads from this store."""
        before = len(self.traffic)
        action()
        return sum(length for _, length in self.traffic[before:])

    def _blob(self, key: str) -> bytes:
        self.asked.append(key)
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise HostileError(f"key {key!r} leaves the store")
        if key not in self.blobs:
            raise NotFoundError(f"{key} does not exist")
        return self.blobs[key]


def cells(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    """Planes that compress as micrographs do and of which no two are alike: array of `shape` (..., Y, X)."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[: shape[-2], : shape[-1]]
    light = 40 + 25 * np.sin(y / 17.0) * np.cos(x / 23.0)
    noisy = rng.poisson(np.broadcast_to(light, shape)) + np.arange(np.prod(shape[:-2])).reshape(*shape[:-2], 1, 1)
    return noisy.astype(dtype)


class ReaderExam:
    """Make a subclass named ``Test...`` that says how a file of your format is made; pytest does the rest.

    Attributes:
        shape: of the stack that `make` gets, (T, C, Z, Y, X).
        dtypes: that the format holds.
        checksummed: whether a flipped bit among the stored pixels must be noticed.
        overhead: bytes that reading one plane may move, over the stored bytes of that plane; 0 leaves it out.
    """

    shape: ClassVar[tuple[int, int, int, int, int]] = (3, 2, 2, 96, 130)
    dtypes: ClassVar[tuple[str, ...]] = ("uint8", "uint16")
    checksummed: ClassVar[bool] = True
    overhead: ClassVar[float] = 0

    def make(self, folder: Path, stack: NDArray[Any]) -> Container:
        """Write `stack` (T, C, Z, Y, X) below `folder` and say where it lies. Yours to give."""
        raise NotImplementedError

    def stored(self, store: MemoryStore, plane: Plane) -> int:
        """Bytes that the pixels of `plane` take in the store. Yours to give where `overhead` is."""
        raise NotImplementedError

    @pytest.fixture
    def stack(self) -> NDArray[Any]:
        """The truth."""
        return cells(self.shape)

    @pytest.fixture
    def container(self, tmp_path: Path, stack: NDArray[Any]) -> Container:
        """Where the truth was written."""
        return self.make(tmp_path, stack)

    @pytest.fixture
    def store(self, tmp_path: Path, container: Container) -> MemoryStore:
        """A counting copy of what was written."""
        del container
        return MemoryStore.of(tmp_path)

    @pytest.fixture
    def fields(self, store: MemoryStore, container: Container) -> list[Field]:
        """What the reader finds in it."""
        return list(formats.fields(store, container))

    def test_every_pixel_is_there(self, fields: list[Field], stack: NDArray[Any]) -> None:
        """Fields in the order of time and z; pixels (C, Y, X) in the dtype that was written, native and contiguous."""
        places = list(product(range(self.shape[0]), range(self.shape[2])))
        assert [(field.id.time, field.id.z) for field in fields] == places
        for field, (t, z) in zip(fields, places, strict=True):
            pixels = field.read()
            assert pixels.dtype == stack.dtype
            assert pixels.dtype.isnative
            assert pixels.flags.c_contiguous
            np.testing.assert_array_equal(pixels, stack[t, :, z])

    def test_every_type_survives(self, tmp_path: Path) -> None:
        """Extremes of each type come back as they are."""
        for dtype in self.dtypes:
            stack = cells((1, self.shape[1], 1, *self.shape[-2:]), dtype)
            known = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
            stack[..., 0, :2] = known.min, known.max
            container = self.make(tmp_path / dtype, stack)
            (field,) = formats.fields(MemoryStore.of(tmp_path / dtype), container)
            assert field.read().dtype == np.dtype(dtype)
            np.testing.assert_array_equal(field.read(), stack[0, :, 0])

    def test_fields_travel_between_processes(self, fields: list[Field], stack: NDArray[Any]) -> None:
        """A field and its pixels can be pickled."""
        travelled = pickle.loads(pickle.dumps(fields[-1]))  # noqa: S301  (our own bytes)
        assert travelled == fields[-1]
        np.testing.assert_array_equal(travelled.read(), stack[-1, :, -1])

    def test_planes_outside_are_refused(self, store: MemoryStore, fields: list[Field]) -> None:
        """Channel, frame and z past the end, and negative ones; named where the plane is not a page of its own."""
        plane = fields[0].planes[0]
        if plane.inner.startswith("page/"):
            plane = Plane(plane.key, plane.format)
        for axis, length in zip("tcz", self.shape, strict=False):
            for value in (length, -1):
                with pytest.raises(OutOfRangeError, match=str(value)):
                    formats.read(store, dataclasses.replace(plane, **{axis: value}))  # type: ignore[arg-type]

    def test_absent_files_are_named(self, store: MemoryStore, fields: list[Field]) -> None:
        """A key that is not there is not found, and the message says which."""
        with pytest.raises(NotFoundError, match="nowhere"):
            formats.read(store, dataclasses.replace(fields[0].planes[0], key="nowhere"))

    def test_touch_moves_the_same_bytes(self, store: MemoryStore, fields: list[Field]) -> None:
        """What was touched is all that reading needs."""
        plane = fields[-1].planes[-1]
        store.traffic.clear()
        formats.touch(store, plane)
        touched = Counter(store.traffic)
        store.traffic.clear()
        formats.read(store, plane)
        assert Counter(store.traffic) == touched

    def test_only_the_plane_is_read(self, store: MemoryStore, fields: list[Field]) -> None:
        """Bytes moved for one plane, metadata and all, stay below `overhead` times its stored pixels."""
        if self.overhead:
            for plane in (fields[0].planes[0], fields[-1].planes[-1]):
                moved = store.bytes_of(lambda plane=plane: formats.read(store, plane))
                assert moved <= self.overhead * self.stored(store, plane)

    def test_truncated_files_never_lie(self, store: MemoryStore, fields: list[Field], stack: NDArray[Any]) -> None:
        """Every file cut at several places: the planes are exact or refused by a named error."""
        for key in _sample(store.blobs, 16):
            whole = store.blobs[key]
            for cut in sorted({0, 1, len(whole) // 2, len(whole) - 1}):
                store.blobs[key] = whole[:cut]
                _exact_or_refused(store, [fields[0], fields[-1]], stack)
            store.blobs[key] = whole

    def test_flipped_bits_never_lie(self, store: MemoryStore, fields: list[Field], stack: NDArray[Any]) -> None:
        """One bit anywhere: exact or refused; formats without checksums only promise no foreign error."""
        dice = random.Random(1)
        for _ in range(120):
            key = dice.choice(sorted(store.blobs))
            whole = store.blobs[key]
            at = dice.randrange(len(whole))
            store.blobs[key] = whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :]
            _exact_or_refused(store, fields[-1:], stack, exact=self.checksummed and self.is_pixels(store, key, at))
            store.blobs[key] = whole

    def is_pixels(self, store: MemoryStore, key: str, at: int) -> bool:
        """Whether byte `at` of `key` belongs to checksummed pixels; metadata often has no checksum of its own."""
        del store, key, at
        return True


def _sample(blobs: Mapping[str, bytes], most: int) -> list[str]:
    keys = sorted(blobs)
    return keys if len(keys) <= most else sorted(random.Random(0).sample(keys, most))


def _exact_or_refused(store: MemoryStore, fields: list[Field], stack: NDArray[Any], *, exact: bool = True) -> None:
    for field in fields:
        for plane in field.planes:
            try:
                pixels = formats.read(store, plane)
            except PhenostreamError:
                continue
            if exact:
                np.testing.assert_array_equal(pixels, stack[field.id.time, plane.c, field.id.z])
