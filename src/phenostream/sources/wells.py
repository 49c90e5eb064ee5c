"""Wells: row letters and an unpadded column number, in plate order."""

from __future__ import annotations

import re

from phenostream.errors import RecipeError

_WELL = re.compile(r"([A-Za-z]{1,2})[ _-]?0*([1-9]\d?)")


def well_name(row: str, column: str) -> str:
    """The name of a well: ``("a", "04")`` and ``("1", "4")`` are ``A4``; after row ``Z`` comes ``AA``.

    Raises RecipeError where it is none.
    """
    letters = _letters(int(row)) if row.isdecimal() and int(row) else row.upper()
    return normal(f"{letters}{column}")


def normal(well: str) -> str:
    """`well` as row letters and unpadded column: ``a04``, ``A-04`` and ``A4`` are ``A4``. Raises RecipeError."""
    found = _WELL.fullmatch(well.strip())
    if found is None:
        raise RecipeError(f"{well!r} is not a well", remedy="wells are row letters and a column, such as A4 or AF48")
    return f"{found[1].upper()}{found[2]}"


def order(well: str) -> tuple[int, int, str]:
    """Sort key of plate order: A1, A2, A10, B1, Z1, AA1. What is no well comes last, by name."""
    found = _WELL.fullmatch(well)
    if found is None:
        return 1 << 30, 0, well
    return _number(found[1].upper()), int(found[2]), ""


def _number(letters: str) -> int:
    total = 0
    for letter in letters:
        total = total * 26 + ord(letter) - ord("A") + 1
    return total


def _letters(number: int) -> str:
    first, second = divmod(number - 1, 26)
    return (chr(ord("A") + first - 1) if first else "") + chr(ord("A") + second)
