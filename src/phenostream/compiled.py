"""How hot loops are compiled: numba, kept on disk, without the interpreter lock, bit for bit repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., object]")


def kernel(function: Function) -> Function:
    """`function` compiled on its first call and kept in numba's cache folder for later processes.

    Threads run it in parallel. No fast-math: the same input gives the same bits, whatever the number of threads.
    Where no cache folder can be written (a read-only installation without a home), it is compiled in every process
    instead.
    """
    try:
        return cast("Function", njit(function, cache=True, nogil=True, error_model="numpy"))
    except RuntimeError:
        return cast("Function", njit(function, nogil=True, error_model="numpy"))
