"""Colours that every reader can tell apart."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: Of groups: Okabe and Ito's, told apart with every colour vision (jfly.uni-koeln.de/color), and a grey.
GROUPS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c")


@lru_cache(maxsize=1)
def ramp() -> tuple[str, ...]:
    """256 colours from dark blue to yellow, as ``#rrggbb``.

    Cividis, optimised so that viewers with and without colour vision deficiency see the same order (Nuñez, Anderton and
    Renslow 2018, doi:10.1371/journal.pone.0199239).
    """
    import matplotlib as mpl  # noqa: PLC0415  (heavy: only pages need it)

    levels = (np.asarray(mpl.colormaps["cividis"](np.arange(256)))[:, :3] * 255).round().astype(int)
    return tuple(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in levels)


def table() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """The same colours as (256, 3) uint8."""
    return np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in ramp()], np.uint8)


def gradient(stops: int = 9) -> str:
    """The ramp as a CSS gradient, left to right."""
    colours = ramp()
    return f"linear-gradient(90deg,{','.join(colours[round(i * 255 / (stops - 1))] for i in range(stops))})"
