"""Patterns: what the parts of a file's name mean."""

from __future__ import annotations

import re
from functools import lru_cache

from phenostream.errors import RecipeError

_TOKEN = re.compile(r"\{(\w*)(:d)?\}|\*\*|\*")
# Parts whose form is known are held to it: so "{plate}_{well}" reads "BR_01_A04" as plate BR_01.
_FORMS = {
    "well": r"[A-Za-z]{1,2}[0-9]{1,3}",
    "row": r"[A-Za-z]{1,2}|[0-9]{1,2}",
    "column": r"[0-9]{1,3}",
    "time": r"[0-9]+",
    "z": r"[0-9]+",
}


@lru_cache(maxsize=64)
def compiled(pattern: str) -> re.Pattern[str]:
    """The expression of `pattern`, to be matched against a whole key.

    A pattern with ``(?P<`` is a regular expression. In any other, ``{name}`` is a part without slash, as short as
    possible, ``{name:d}`` digits, ``{}`` and ``{:d}`` the same without a name, ``*`` anything without slash, ``**``
    anything. Both may be preceded by any folders. Raises RecipeError where it is not an expression or names nothing.
    """
    text = pattern if "(?P<" in pattern else _translated(pattern)
    try:
        expression = re.compile(rf"(?:.*?/)??(?:{text})")
    except re.error as error:
        raise RecipeError(f"the pattern {pattern!r} is not valid: {error}", remedy="see the folder catalog") from error
    if not expression.groupindex:
        raise RecipeError(f"the pattern {pattern!r} names no part", remedy="for example {plate}/{well}_s{site}.tif")
    return expression


def _translated(pattern: str) -> str:
    out, position, seen = [], 0, set[str]()
    for token in _TOKEN.finditer(pattern):
        out.append(re.escape(pattern[position : token.start()]))
        out.append(_part(token, seen))
        position = token.end()
    return "".join([*out, re.escape(pattern[position:])])


def _part(token: re.Match[str], seen: set[str]) -> str:
    if token[0].startswith("*"):
        return ".*?" if token[0] == "**" else "[^/]*?"
    name = token[1]
    form = "[0-9]+" if token[2] else _FORMS.get(name, "[^/]+?")
    if not name:
        return f"(?:{form})"
    if name in seen:  # the same part again must say the same
        return f"(?P={name})"
    seen.add(name)
    return f"(?P<{name}>{form})"
