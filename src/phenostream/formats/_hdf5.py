"""HDF5 on a store: only the bytes that are needed, no link out of the file, and no decoder but our own.

HDF5 holds one lock for all files of a process. It therefore never waits for a network here: it sees only bytes that
have arrived, and where it asks for others, they are fetched (side by side, outside the lock) and the question is asked
again. Small reads, the metadata, come in aligned blocks; large ones, the raw chunks, in their exact range.

Source of the layouts and filters: HDF5 File Format Specification 3.0, The HDF Group.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import h5py
import imagecodecs
import numpy as np

from phenostream.errors import DamagedError, HostileError, NotFoundError, PhenostreamError, TooLargeError
from phenostream.formats import _memory
from phenostream.formats.limits import DEFAULT, Limits, check_claim
from phenostream.values.seeking import Seeking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from phenostream.values import Store

T = TypeVar("T")
BLOCK = 8192
# The first look takes four blocks: the groups on the way to a position mostly lie there.
HEAD = 4 * BLOCK
_AT_ONCE = 8
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_FETCH_AGAIN = "fetch the file again, or tell whoever keeps it"


class _NotHereError(Exception):
    """HDF5 asked for bytes that have not arrived."""


@dataclass(slots=True)
class _Arrived:
    """What has arrived of one file: its size, blocks by number, exact ranges; and the spans wanted of both."""

    size: int
    blocks: dict[int, bytes]
    ranges: dict[tuple[int, int], bytes] = field(default_factory=dict)
    wanted: set[tuple[int, int]] = field(default_factory=set)
    wanted_blocks: set[tuple[int, int]] = field(default_factory=set)
    broken: str = ""

    @property
    def late(self) -> bool:
        """Whether something that was asked for is not here."""
        return bool(self.wanted or self.wanted_blocks)

    def read(self, start: int, length: int) -> bytes:
        """Bytes that are here; otherwise notes what is wanted and raises."""
        if start < 0 or start + length > self.size:
            self.broken = f"it points to byte {start + length:,} of {self.size:,}"
            raise _NotHereError
        if length > BLOCK:
            return self._exact(start, length)
        numbers = range(start // BLOCK, (start + max(length, 1) - 1) // BLOCK + 1)
        missing = [number for number in numbers if number not in self.blocks]
        if missing:
            self.wanted_blocks.update((number * BLOCK, min((number + 1) * BLOCK, self.size)) for number in missing)
            raise _NotHereError
        offset = start - numbers[0] * BLOCK
        return b"".join(self.blocks[number] for number in numbers)[offset : offset + length]

    def _exact(self, start: int, length: int) -> bytes:
        try:
            return self.ranges[start, start + length]
        except KeyError:
            self.wanted.add((start, start + length))
            raise _NotHereError from None

    def take(self, blobs: dict[tuple[int, int], bytes]) -> None:
        """Keep what was fetched of all that was wanted."""
        self.blocks.update({span[0] // BLOCK: blobs[span] for span in self.wanted_blocks})
        self.ranges.update({span: blobs[span] for span in self.wanted})
        self.wanted.clear()
        self.wanted_blocks.clear()


class _Window(Seeking):
    """The file object that HDF5 reads from."""

    def __init__(self, arrived: _Arrived) -> None:
        super().__init__()
        self._arrived, self.size = arrived, arrived.size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = self._arrived.read(self._at, len(view))
        self._at += len(view)
        return len(view)


class File:
    """An open HDF5 file, as far as it has arrived; what `ask` hands to its action."""

    def __init__(self, handle: h5py.File, arrived: _Arrived, key: str, limits: Limits) -> None:
        self._handle, self._arrived = handle, arrived
        self.key, self.limits, self.size = key, limits, arrived.size

    def group(self, path: str) -> h5py.Group:
        """The group at `path`. Raises NotFoundError, HostileError for links."""
        found = self._walk(path)
        if not isinstance(found, h5py.Group):
            raise NotFoundError(f"{path} in {self.key} is not a group")
        return found

    def names(self, path: str) -> list[str]:
        """Names in the group at `path`, sorted; none where there is no such group."""
        return sorted(self.group(path)) if self.has(path) else []

    def has(self, path: str) -> bool:
        """Whether `path` is there."""
        try:
            self._walk(path)
        except NotFoundError:
            return False
        return True

    def dataset(self, path: str) -> h5py.Dataset:
        """The data set at `path`, with nothing outside the file and no filters but our own.

        Raises NotFoundError, HostileError.
        """
        found = self._walk(path)
        if not isinstance(found, h5py.Dataset):
            raise NotFoundError(f"{path} in {self.key} is not a data set")
        plist = found.id.get_create_plist()
        if found.is_virtual or plist.get_external_count():
            raise HostileError(f"{path} in {self.key} keeps its data in other files", remedy="do not use this file")
        unknown = set(_filters(found)) - {_DEFLATE, _SHUFFLE, _FLETCHER}
        if unknown:
            raise HostileError(
                f"{path} in {self.key} uses the HDF5 filters {sorted(unknown)}",
                remedy="rewrite the file with gzip: h5repack -f GZIP=4",
            )
        return found

    def table(self, path: str) -> NDArray[Any]:
        """A whole small data set. Raises as `dataset` and `array` do."""
        return self.array(self.dataset(path), ())

    def array(self, dataset: h5py.Dataset, lead: Sequence[int]) -> NDArray[Any]:
        """The elements `dataset[lead]`, decoded here.

        Raises:
            NotFoundError: they were never written.
            DamagedError: they do not decode to what the file says.
            TooLargeError: they claim too much.
        """
        return _decode(dataset, lead, self.stored(dataset, lead), f"{dataset.name} in {self.key}")

    def stored(self, dataset: h5py.Dataset, lead: Sequence[int]) -> list[_Chunk]:
        """The stored bytes of `dataset[lead]`: of its chunks, or of just these elements where there are none."""
        what = f"{dataset.name} in {self.key}"
        if dataset.dtype.hasobject or dataset.dtype.itemsize != dataset.id.get_type().get_size():
            raise DamagedError(f"{what} holds {dataset.dtype}, which has no fixed size")
        claim = check_claim(dataset.shape[len(lead) :], dataset.dtype, what, stored=self.size, limits=self.limits)
        if dataset.chunks:
            check_claim(dataset.chunks, dataset.dtype, f"a chunk of {what}", stored=self.size, limits=self.limits)
            return self._chunks(dataset, lead)
        start = dataset.id.get_offset()
        if dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT:
            return [_Chunk((), 0, np.ascontiguousarray(dataset[tuple(lead)]).tobytes())]
        if start is None:
            raise NotFoundError(f"{what} was never written", remedy=_FETCH_AGAIN)
        place = int(np.ravel_multi_index(tuple(lead), dataset.shape[: len(lead)])) if lead else 0
        return [_Chunk((), 0, self._arrived.read(start + place * claim, claim))]

    def _chunks(self, dataset: h5py.Dataset, lead: Sequence[int]) -> list[_Chunk]:
        """All chunks under `lead`; what has not arrived of any of them is wanted in one go."""
        found, late = [], False
        for offset in _offsets(dataset, lead, self.size):
            try:
                found.append(_Chunk(offset, *dataset.id.read_direct_chunk(offset)))
            except Exception as error:
                if not self._arrived.late:
                    what = f"the chunk at {offset} of {dataset.name} in {self.key}"
                    raise NotFoundError(f"{what} is missing: {error}", remedy=_FETCH_AGAIN) from error
                late = True
        if late:
            raise _NotHereError
        return found

    def _walk(self, path: str) -> Any:
        """The object at `path`, step by step, so that no link is followed."""
        here = self._handle
        for name in path.strip("/").split("/"):
            link = here.get(name, getlink=True) if isinstance(here, h5py.Group) else None
            if link is None:
                raise _absent(here, name, self.key)
            if not isinstance(link, h5py.HardLink):
                raise HostileError(
                    f"{here.name}/{name} in {self.key} is a link to somewhere else",
                    remedy="copy the data into the file",
                )
            here = here[name]
        return here


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Stored bytes: where the chunk begins (empty: exactly what was asked for), filters it skipped, the bytes."""

    offset: tuple[int, ...]
    mask: int
    blob: bytes


def ask(store: Store, key: str, action: Callable[[File], T], *, limits: Limits = DEFAULT) -> T:
    """What `action` says of the HDF5 file at `key`.

    The action may be called several times, as more of the file arrives, and must not keep the file.

    Raises:
        NotFoundError: no such file.
        DamagedError: truncated, or not HDF5.
        PhenostreamError: whatever the action raises.
    """
    arrived = _memory.recall(store, "hdf5", key, lambda: _opened(store, key))
    arrived = _Arrived(arrived.size, arrived.blocks)
    while True:
        try:
            answer = _attempt(arrived, key, action, limits)
        except Exception as error:
            if not arrived.late or arrived.broken:
                raise _named(error, key, arrived.broken) from error
        else:
            if not arrived.late:
                return answer
        if len(arrived.blocks) * BLOCK > limits.metadata_bytes:
            raise DamagedError(f"the metadata of {key} leads nowhere", remedy=_FETCH_AGAIN)
        arrived.take(_fetch(store, key, sorted(arrived.wanted | arrived.wanted_blocks)))


def _opened(store: Store, key: str) -> _Arrived:
    """The beginning of the file; remote stores know its size from then on, without another question."""
    head = store.read(key, 0, HEAD)
    return _Arrived(store.size(key), {at // BLOCK: head[at : at + BLOCK] for at in range(0, len(head), BLOCK)})


def _attempt(arrived: _Arrived, key: str, action: Callable[[File], T], limits: Limits) -> T:
    with _Window(arrived) as window, h5py.File(window, "r") as handle:
        return action(File(handle, arrived, key, limits))


def _named(error: Exception, key: str, broken: str) -> PhenostreamError:
    """A named error as it is, what the library says as damage."""
    if isinstance(error, PhenostreamError) and not broken:
        return error
    return DamagedError(f"{key} is no HDF5 file, truncated or corrupt: {broken or error}", remedy=_FETCH_AGAIN)


def _fetch(store: Store, key: str, spans: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """The bytes of all spans, side by side; a single one without the cost of a thread."""
    if len(spans) == 1:
        blobs = [store.read(key, *spans[0])]
    else:
        with ThreadPoolExecutor(min(_AT_ONCE, len(spans))) as pool:
            blobs = list(pool.map(lambda span: store.read(key, *span), spans))
    for (start, stop), blob in zip(spans, blobs, strict=True):
        if len(blob) != stop - start:
            raise DamagedError(f"{key} ended at byte {start + len(blob):,} of {stop:,}", remedy=_FETCH_AGAIN)
    return dict(zip(spans, blobs, strict=True))


def _absent(here: Any, name: str, key: str) -> NotFoundError:
    there = sorted(here)[:6] if isinstance(here, h5py.Group) else []
    return NotFoundError(
        f"no {name!r} in {here.name} of {key}; there are: {', '.join(there) or 'none'}",
        remedy="check plate, well and position",
    )


def _filters(dataset: h5py.Dataset) -> list[int]:
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]


def _offsets(dataset: h5py.Dataset, lead: Sequence[int], most: int) -> Iterable[tuple[int, ...]]:
    """First element of every chunk under `lead`; there cannot be more of them than bytes in the file."""
    spans = [
        (lead[axis] // chunk * chunk,) if axis < len(lead) else range(0, length, chunk)
        for axis, (length, chunk) in enumerate(zip(dataset.shape, dataset.chunks, strict=True))
    ]
    if math.prod(len(span) for span in spans) > most:
        raise TooLargeError(f"{dataset.name} claims more chunks than its file has bytes", remedy="do not use this file")
    return product(*spans)


def _decode(dataset: h5py.Dataset, lead: Sequence[int], chunks: Sequence[_Chunk], what: str) -> NDArray[Any]:
    shape = dataset.shape[len(lead) :]
    if chunks and not chunks[0].offset:
        return np.frombuffer(chunks[0].blob, dataset.dtype).reshape(shape)
    unpack = partial(_unfiltered, filters=_filters(dataset), itemsize=dataset.dtype.itemsize, what=what)
    expected = math.prod(dataset.chunks) * dataset.dtype.itemsize
    result = np.empty(shape, dataset.dtype)
    for chunk in chunks:
        block = np.frombuffer(unpack(chunk, expected), dataset.dtype).reshape(dataset.chunks)
        inner = tuple(at - start for at, start in zip(lead, chunk.offset, strict=False))
        place = tuple(slice(start, start + size) for start, size in zip(chunk.offset, dataset.chunks, strict=True))
        target = result[place[len(lead) :]]
        target[...] = block[inner][tuple(slice(0, size) for size in target.shape)]
    return result


def _unfiltered(chunk: _Chunk, expected: int, *, filters: Sequence[int], itemsize: int, what: str) -> bytes:
    """The chunk through its filters backwards, into exactly `expected` bytes. Raises DamagedError."""
    data = chunk.blob
    for position in reversed(range(len(filters))):
        if chunk.mask >> position & 1:
            continue
        if filters[position] == _FLETCHER:
            data = _checked(data, what)
        elif filters[position] == _DEFLATE:
            data = _inflated(data, expected + 4 * filters.count(_FLETCHER), what)
        elif itemsize > 1:
            data = np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()
    if len(data) != expected:
        raise DamagedError(f"a chunk of {what} holds {len(data):,} of {expected:,} bytes", remedy=_FETCH_AGAIN)
    return data


def _inflated(data: bytes, most: int, what: str) -> bytes:
    try:
        return bytes(imagecodecs.deflate_decode(data, out=bytearray(most)))
    except imagecodecs.DeflateError as error:
        raise DamagedError(f"a chunk of {what} does not inflate: {error}", remedy=_FETCH_AGAIN) from error


def _checked(data: bytes, what: str) -> bytes:
    """`data` without its Fletcher-32, where that fits the rest."""
    body = data[:-4]
    if len(data) < 4 or imagecodecs.h5checksum_fletcher32(body) != int.from_bytes(data[-4:], "little"):
        raise DamagedError(f"a chunk of {what} fails its checksum", remedy=_FETCH_AGAIN)
    return body
