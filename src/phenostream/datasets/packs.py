"""Packs: any site of packed data in one positioned read, with the bytes checked."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenostream.datasets.coding import Coding
from phenostream.datasets.documents import unseal
from phenostream.datasets.shards import Span
from phenostream.datasets.tables import IDENTITY, STORAGE, fields_of
from phenostream.errors import (
    ChannelMissingError,
    DamagedError,
    NotFoundError,
    OutOfRangeError,
    PhenostreamError,
    WrongShapeError,
)
from phenostream.sources import open_store
from phenostream.sources.names import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from phenostream.datasets.coding import Blob
    from phenostream.sources import LocalStore, RemoteStore, TransportOptions
    from phenostream.values import Field

_FORMAT = "phenostream-pack"
_AGAIN = "pack again into the same folder: what is whole is kept, what is damaged is written anew"


@dataclass(frozen=True, slots=True)
class Description:
    """What ``pack.json`` says.

    Attributes:
        channels: names, in the order of the first axis.
        coding: shape and type of every site.
        sites: how many.
        shards: files of pixels.
        bytes: of all shards.
        licence: of the images.
        settings: with which it was packed.
        tables: SHA-256 of each table.
        documents: SHA-256 of each Zarr document.
    """

    channels: tuple[str, ...]
    coding: Coding
    sites: int
    shards: int
    bytes: int
    licence: str
    settings: dict[str, Any]
    tables: dict[str, str]
    documents: dict[str, str]


class Pack:
    """Packed sites, local or behind a URL, by number in the order of the index.

    Several threads may read at once. It can be pickled; the copy opens its files anew.

    Attributes:
        base: folder or URL.
        table: the index, one row a site: ``site_id``, identity, annotation, where it lies, statistics.
        description: see `Description`.
    """

    def __init__(self, base: str, store: LocalStore | RemoteStore, description: Description, table: pa.Table) -> None:
        """Use `open_pack`."""
        self.base = base
        self.store = store
        self.description = description
        self.table = table
        names = [str(name) for name in table["shard"].to_pylist()]
        self.shards: tuple[str, ...] = tuple(dict.fromkeys(names))
        number = {name: at for at, name in enumerate(self.shards)}
        self.shard_numbers: NDArray[np.int64] = np.array([number[name] for name in names], np.int64)
        self.offsets: NDArray[np.int64] = table["offset"].to_numpy().astype(np.int64)
        self.lengths: NDArray[np.int64] = table["length"].to_numpy().astype(np.int64)
        self.checksums: NDArray[np.uint32] = table["crc32c"].to_numpy().astype(np.uint32)
        self.folder: Path | None = Path(store.base) if isinstance(store.base, str) and "://" not in store.base else None

    def __reduce__(self) -> tuple[Any, ...]:
        return Pack, (self.base, self.store, self.description, self.table)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"Pack({self.base!r}: {len(self):,} sites of {shape} {self.dtype}, {', '.join(self.channels)})"

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names, in the order of the first axis."""
        return self.description.channels

    @property
    def coding(self) -> Coding:
        """How a site is stored."""
        return self.description.coding

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, Y, X) of every site."""
        return self.coding.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(self.coding.dtype)

    def channel(self, name: str) -> int:
        """Place of the channel `name`. Raises ChannelMissingError with the names there are."""
        if name not in self.channels:
            raise ChannelMissingError(
                f"no channel {name!r} in {self.base}; there are {', '.join(self.channels)}", remedy="name one of them"
            )
        return self.channels.index(name)

    def span(self, i: int) -> Span:
        """Where the stored bytes of site `i` lie. Raises OutOfRangeError."""
        i = self._checked(i)
        return Span(
            self.shards[self.shard_numbers[i]], int(self.offsets[i]), int(self.lengths[i]), int(self.checksums[i])
        )

    def blob(self, i: int, *, check: bool = True) -> bytes:
        """The stored bytes of site `i`.

        Raises:
            OutOfRangeError: no such site.
            NotFoundError: its shard is not there.
            DamagedError: they fail their checksum, unless not `check`; other sites stay readable.
        """
        span = self.span(i)
        data = self._bytes(span)
        if check:
            self.check(i, data)
        return data

    def check(self, i: int, blob: Blob) -> None:
        """Compare the stored bytes of site `i` with the checksum in the index. Raises DamagedError."""
        if google_crc32c.value(blob) != self.checksums[i]:
            raise self._damaged(i, "fails its checksum")

    def decode(self, blob: Blob, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The site (C, Y, X) of stored bytes, in `out` where given; see `Coding.decode` for what it raises."""
        return self.coding.decode(blob, out)

    def __getitem__(self, i: int) -> NDArray[Any]:
        """Site `i` (C, Y, X). Raises as `blob`, and DamagedError where it does not decode."""
        return self._into(self._checked(i), None)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def read(self, indices: Sequence[int] | NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Sites (N, C, Y, X) by number, in the order asked for; in `out` where given.

        Raises as indexing does, and WrongShapeError for an `out` of another shape.
        """
        wanted = [self._checked(int(i)) for i in indices]
        batch = np.empty((len(wanted), *self.shape), self.dtype) if out is None else out
        if batch.shape != (len(wanted), *self.shape):
            raise WrongShapeError(f"out has shape {batch.shape}, {(len(wanted), *self.shape)} is read")
        for place in sorted(
            range(len(wanted)), key=lambda at: (self.shard_numbers[wanted[at]], self.offsets[wanted[at]])
        ):
            self._into(wanted[place], batch[place])
        return batch

    def _into(self, i: int, out: NDArray[Any] | None) -> NDArray[Any]:
        try:
            return self.decode(self.blob(i), out)
        except DamagedError as error:
            raise error if "site_id" in error.place else self._damaged(i, error.message) from error

    def _bytes(self, span: Span) -> bytes:
        if self.folder is None:
            return self.store.read(span.shard, span.offset, span.offset + span.length)
        try:
            handle = os.open(self.folder / span.shard, os.O_RDONLY)
        except FileNotFoundError as error:
            raise NotFoundError(f"shard {span.shard} of {self.base} is not there", remedy=_AGAIN) from error
        try:
            return os.pread(handle, span.length, span.offset)
        finally:
            os.close(handle)

    def _checked(self, i: int) -> int:
        place = i + len(self) if i < 0 else i
        if not 0 <= place < len(self):
            raise OutOfRangeError(f"site {i} of {len(self):,}", remedy="sites count from 0")
        return place

    def _damaged(self, i: int, what: str) -> DamagedError:
        row = self.table.slice(i, 1).select(["site_id", "plate", "well", "site"]).to_pylist()[0]
        name = row.pop("site_id")
        shard = self.shards[self.shard_numbers[i]]
        error = DamagedError(f"site {name} in shard {shard} of {self.base}: {what}", remedy=_AGAIN)
        error.at(site_id=name, shard=shard, **row)
        return error


def open_pack(
    base: str | os.PathLike[str],
    *,
    options: TransportOptions | None = None,
    store: LocalStore | RemoteStore | None = None,
) -> Pack:
    """Open packed sites.

    Args:
        base: folder, or URL of one (``https://``, ``s3://`` ...), of which then only the wanted ranges are read.
        options: how transports behave.
        store: of `base`, where it is open already.

    Raises:
        NotFoundError: no pack there, or one whose packing has not ended.
        DamagedError: the description or the index is not what it was.
        HostileError: an index that names files outside.
    """
    place = os.fspath(base)
    opened = store or open_store(place, options=options)
    try:
        payload = opened.read("pack.json")
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no finished pack at {place}", remedy="pack into it, or run the same packing again"
        ) from error
    description = _described(payload, place)
    try:
        table = read_table(opened, "index.parquet", description, place)
        _check_index(table, description, place)
    except DamagedError:
        # The index may well be right, and what is told of it wrong.
        unseal(payload, f"pack.json of {place}", remedy=_AGAIN)
        raise
    return Pack(place, opened, description, table)


def _check_index(table: pa.Table, description: Description, place: str) -> None:
    """Refuse an index that no packing writes: it says which file is read, and how much of it.

    Raises DamagedError, HostileError.
    """
    if lost := [name for name in (*IDENTITY, *STORAGE, "site_id") if name not in table.column_names]:
        raise DamagedError(f"index.parquet of {place} has no column {lost[0]!r}", remedy=_AGAIN)
    if any(table[name].null_count for name in ("shard", "offset", "length", "crc32c")):
        raise DamagedError(f"index.parquet of {place} does not say where every site lies", remedy=_AGAIN)
    for shard in {*table["shard"].to_pylist()}:
        checked(str(shard))
    lengths, offsets = table["length"].to_numpy(), table["offset"].to_numpy()
    # No codec here makes a site much longer than it is; a read of more is not a site.
    most = 2 * description.coding.nbytes + 4096
    if len(table) and (lengths.min() < 0 or lengths.max() > most or offsets.min() < 0):
        raise DamagedError(f"index.parquet of {place} names sites of impossible length", remedy=_AGAIN)
    if len(description.channels) != description.coding.shape[0]:
        raise DamagedError(
            f"pack.json of {place} names {len(description.channels)} of {description.coding.shape[0]} channels",
            remedy=_AGAIN,
        )


def read_table(store: LocalStore | RemoteStore, name: str, description: Description, place: str) -> pa.Table:
    """A table of a pack, compared with the digest that its description has. Raises DamagedError, NotFoundError."""
    data = store.read(name)
    if hashlib.sha256(data).hexdigest() != description.tables.get(name):
        raise DamagedError(f"{name} of {place} is not what was packed", remedy=_AGAIN)
    try:
        # Not `pq.read_table`: its threads may let go of these bytes after the interpreter ended, which aborts.
        return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except pa.ArrowInvalid as error:
        raise DamagedError(f"{name} of {place} cannot be read: {error}", remedy=_AGAIN) from error


def left_out(pack: Pack) -> list[Field]:
    """Sites that the tables of a screen tell of and that the pack does not hold: absent, damaged or dropped ones.

    Raises DamagedError, NotFoundError where the table of findings is not what was packed.
    """
    there = {field.id for field in fields_of(pack.table.select(list(IDENTITY)))}
    found = fields_of(read_table(pack.store, "findings.parquet", pack.description, pack.base))
    # A site may be found twice; what is told of it stands with the first.
    return list({field.id: field for field in reversed(found) if field.id not in there}.values())[::-1]


def _described(payload: bytes, place: str) -> Description:
    try:
        told = json.loads(payload)
        if told["format"] != _FORMAT or told["version"] != 1:
            raise DamagedError(
                f"{place} is a pack of version {told['version']}", remedy="read it with a newer phenostream"
            )
        c, y, x = told["shape"]
        return Description(
            tuple(told["channels"]), Coding((c, y, x), told["dtype"]), told["sites"], told["shards"], told["bytes"],
            told["licence"], told["settings"], told["tables"], told.get("documents", {}),
        )  # fmt: skip
    except PhenostreamError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"pack.json of {place} is damaged: {error}", remedy=_AGAIN) from error
