"""Names inside stores: joined, checked, and the names that plates give to wells."""

from __future__ import annotations

import re
from string import ascii_uppercase

from phenostream.errors import HostileError, OutOfRangeError

_WELL = re.compile(r"([A-Za-z]{1,2})0*(\d+)")


def join(*parts: str) -> str:
    """The parts as one key; empty parts fall out."""
    return "/".join(part.strip("/") for part in parts if part.strip("/"))


def inside(path: str, what: str) -> str:
    """`path` where it stays below its folder. Raises HostileError for absolute ones and for ``..``."""
    if not path or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise HostileError(f"{what} names the path {path!r}, which leaves its folder", remedy="do not use this file")
    return path


def check_index(value: int, length: int, axis: str, what: str) -> int:
    """`value` where it lies in 0 to `length` - 1. Raises OutOfRangeError, with the remark that tables count from 1."""
    if 0 <= value < length:
        return value
    name = {"t": "frame", "c": "channel", "z": "z plane"}.get(axis, axis)
    hint = "; tables of archives count frames from 1, this index from 0" if axis == "t" else ""
    raise OutOfRangeError(
        f"{name} {value} is outside 0 to {length - 1} of {what}{hint}", remedy=f"ask for a {name} that is there"
    )


def well_name(name: str) -> str:
    """Row letters and unpadded column of a name like ``B03`` or ``B/03``; any other name as it is."""
    found = _WELL.fullmatch(name.replace("/", ""))
    return f"{found[1].upper()}{int(found[2])}" if found else name


def numbered_well(number: int, *, columns: int = 24, rows: int = 16) -> str:
    """Name of the well numbered row-major from 1 (384 wells by default: 4 is ``A4``, 25 is ``B1``).

    Empty where the plate has no such well.
    """
    if not 1 <= number <= rows * columns:
        return ""
    row, column = divmod(number - 1, columns)
    return f"{_row_letters(row)}{column + 1}"


def _row_letters(row: int) -> str:
    """A to Z, then AA, AB ... as on plates of 1536 wells."""
    above = ascii_uppercase[row // 26 - 1] if row >= 26 else ""
    return above + ascii_uppercase[row % 26]
