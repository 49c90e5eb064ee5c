"""Numbers in words, the same all over the page."""

from __future__ import annotations

from markupsafe import Markup, escape


def size(value: float) -> str:
    """Bytes in SI units."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    return ""


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def count(value: int) -> str:
    """A whole number with commas."""
    return f"{value:,}"


def breakable(name: str) -> Markup:
    """A column's name that may break after each underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
