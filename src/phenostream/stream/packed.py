"""Fields by the million: kept as compressed lines of JSON, a field again only while it is looked at.

A field is some twenty Python objects and a kilobyte of memory; packed it is about a hundred bytes. The line that is
packed is also the text that the unit's key hashes, so that it is made once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

from phenostream import values

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator

    Name = tuple[str, str]

BLOCK = 512
KEY_BYTES = 16
_FAST = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """One field to be turned into one part. `key` hashes the source and every step before the part."""

    key: str
    position: int
    field: values.Field
    problem: str = ""

    @property
    def plate(self) -> Name:
        """Study and plate: what shares an illumination model."""
        return self.field.id.study, self.field.id.plate


class Units(Sequence[Unit]):
    """The units of a plan, in its order.

    Attributes:
        blocks: packed lines of :data:`BLOCK` units each.
        keys: their keys, :data:`KEY_BYTES` each.
        plates: every (study, plate), in the order of its first unit.
        plate_of: index into `plates`, a unit each.
        unplaced: positions of those that the catalog could not place, ascending.
    """

    def __init__(
        self, blocks: list[bytes], keys: bytes, plates: list[Name], plate_of: array[int], unplaced: list[int]
    ) -> None:
        """Units of these blocks; the five must agree."""
        self.blocks, self.keys, self.plates, self.plate_of, self.unplaced = blocks, keys, plates, plate_of, unplaced
        self._open: tuple[int, list[str]] = (-1, [])

    def __len__(self) -> int:
        return len(self.plate_of)

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Unit]: ...
    def __getitem__(self, index: int | slice) -> Unit | list[Unit]:
        """One unit, or a list of them."""
        if isinstance(index, slice):
            return list(self.at(range(len(self))[index]))
        return next(self.at((range(len(self))[index],)))

    def __iter__(self) -> Iterator[Unit]:
        return self.at(range(len(self)))

    def at(self, positions: Iterable[int]) -> Iterator[Unit]:
        """The units at these positions."""
        return (self._unit(position, text) for position, text in self.lines(positions))

    def lines(self, positions: Iterable[int]) -> Iterator[tuple[int, str]]:
        """Position and line of the units at these positions; a block is unpacked once for neighbours."""
        for number, inside in groupby(positions, key=lambda position: position // BLOCK):
            if self._open[0] != number:
                self._open = number, unpack(self.blocks[number])
            lines = self._open[1]
            for position in inside:
                yield position, lines[position % BLOCK]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Key, position, study, plate, well, site, time, z and annotation as JSON of every unit."""
        for position, text in self.lines(range(len(self))):
            name, *_, annotation = json.loads(identity_in(text))
            yield self.key(position), position, *name, json.dumps(dict(annotation))

    def key(self, position: int) -> str:
        """The key of the unit at `position`."""
        return self.keys[KEY_BYTES * position : KEY_BYTES * (position + 1)].hex()

    def by_plate(self, positions: Iterable[int]) -> dict[Name, list[int]]:
        """These positions by plate, plates in the order in which they come."""
        grouped: dict[int, list[int]] = {}
        for position in positions:
            grouped.setdefault(self.plate_of[position], []).append(position)
        return {self.plates[number]: found for number, found in grouped.items()}

    def _unit(self, position: int, text: str) -> Unit:
        one = field_of(text)
        return Unit(self.key(position), position, one, problem_of(one))


class Samples(Mapping["Name", "tuple[values.Field, ...]"]):
    """The fields sampled for each plate's illumination; `packed` holds a block a plate."""

    def __init__(self, packed: dict[Name, bytes]) -> None:
        """Samples of these plates."""
        self.packed = packed

    def __getitem__(self, plate: Name) -> tuple[values.Field, ...]:
        return tuple(field_of(text) for text in unpack(self.packed[plate]))

    def __iter__(self) -> Iterator[Name]:
        return iter(self.packed)

    def __len__(self) -> int:
        return len(self.packed)


def problem_of(one: values.Field) -> str:
    """Why the catalog could not place `one`; empty where it could."""
    return one.annotation.get("unresolved", "") if not one.planes else ""


def line(one: values.Field, stamps: Sequence[str] = ()) -> str:
    """`one` as a line: what identifies it, its stains, and the stamps of its files, tabs between them."""
    return f"{identity(one)}\t{_stains(one.channels)}\t{_json(list(stamps)) if stamps else '[]'}"


def identity(one: values.Field) -> str:
    """Canonical JSON of all that makes `one` this field and no other."""
    name = one.id
    return _json(
        [
            [name.study, name.plate, name.well, name.site, name.time, name.z],
            [channel.name for channel in one.channels],
            [[plane.key, plane.format, plane.inner, plane.c, plane.t, plane.z] for plane in one.planes],
            one.pixel_size,
            sorted(one.annotation.items()),
        ]
    )


def identity_in(text: str) -> str:
    """The identity that a line tells."""
    return text.partition("\t")[0]


def field_of(text: str) -> values.Field:
    """The field that `line` told."""
    told, stains, _ = text.split("\t")
    name, channels, planes, pixel_size, annotation = json.loads(told)
    return values.Field(
        values.FieldId(*name),
        tuple(values.Channel(*pair) for pair in zip(channels, json.loads(stains), strict=True)),
        tuple(values.Plane(*place) for place in planes),
        pixel_size,
        MappingProxyType(dict(annotation)),
    )


def pack(lines: Iterable[str]) -> bytes:
    """Lines as one block."""
    return zlib.compress("\n".join(lines).encode(), _FAST)


def unpack(block: bytes) -> list[str]:
    """The lines of a block."""
    return zlib.decompress(block).decode().split("\n")


@lru_cache(maxsize=64)
def _stains(channels: tuple[values.Channel, ...]) -> str:
    return _json([channel.stain for channel in channels])


_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
