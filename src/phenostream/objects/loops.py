"""How the room's hot loops are compiled: numba, kept on disk, without the interpreter lock, bit for bit repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., object]")


def loop(function: Function) -> Function:
    """`function` compiled at its first call; kept for later processes where a cache folder can be written."""
    try:
        return cast("Function", njit(function, cache=True, nogil=True, error_model="numpy"))
    except RuntimeError:
        return cast("Function", njit(function, nogil=True, error_model="numpy"))
