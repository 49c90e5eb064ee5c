"""Arithmetic of byte ranges: what is covered, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """Bytes `start` to `stop` (exclusive) of a blob, kept in `file`, whose content hashes to `sha256` (hex)."""

    start: int
    stop: int
    file: str = ""
    sha256: str = ""


def missing(extents: Iterable[Extent], start: int, stop: int, *, join: int = 0) -> list[tuple[int, int]]:
    """The ranges of `start` to `stop` that no extent covers, in order.

    Two of them with at most `join` covered bytes between are one: a few bytes twice cost less than another request.
    """
    found: list[tuple[int, int]] = []
    for gap in _gaps(extents, start, stop):
        if found and gap[0] - found[-1][1] <= join:
            found[-1] = (found[-1][0], gap[1])
        else:
            found.append(gap)
    return found


def pieces(extents: Iterable[Extent], start: int, stop: int) -> list[tuple[Extent, int, int]] | None:
    """Extents that together give the bytes `start` to `stop`, in order, each with the range to take from it.

    Ranges are positions in the blob; they adjoin and do not overlap. None where a byte is not covered.
    """
    taken: list[tuple[Extent, int, int]] = []
    for extent in sorted(extents):
        if start >= stop:
            break
        if extent.start <= start < extent.stop:
            end = min(stop, extent.stop)
            taken.append((extent, start, end))
            start = end
    return taken if start >= stop else None


def _gaps(extents: Iterable[Extent], start: int, stop: int) -> Iterator[tuple[int, int]]:
    for extent in sorted(extents):
        if extent.start >= stop:
            break
        if extent.start > start:
            yield start, extent.start
        start = max(start, extent.stop)
    if start < stop:
        yield start, stop
