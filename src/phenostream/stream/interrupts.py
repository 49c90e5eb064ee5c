"""Ctrl-C and SIGTERM: at once, but never between the two halves of something that must be whole."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class _Interrupts:
    """What has arrived, and whether it must wait. Signals belong to a process, so there is one."""

    def __init__(self) -> None:
        self.depth = 0
        self.seen = 0
        self.held_back = False

    def arrive(self, _number: int, _frame: FrameType | None) -> None:
        self.seen += 1
        if self.depth and self.seen == 1:
            self.held_back = True
        else:  # whoever asks twice means it
            raise KeyboardInterrupt


_interrupts = _Interrupts()


@contextmanager
def handled() -> Iterator[None]:
    """Within the block, SIGINT and SIGTERM raise KeyboardInterrupt; the first one waits for the end of a `whole`.

    A handler that the caller has set is left alone, and so is everything outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _interrupts.__init__()  # type: ignore[misc]
    ours = [number for number, default in _SIGNALS.items() if signal.getsignal(number) is default]
    for number in ours:
        signal.signal(number, _interrupts.arrive)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, _SIGNALS[number])


@contextmanager
def whole() -> Iterator[None]:
    """What begins in the block is brought to its end before an interrupt is heard."""
    _interrupts.depth += 1
    try:
        yield
    finally:
        _interrupts.depth -= 1
    if _interrupts.held_back and not _interrupts.depth:
        _interrupts.held_back = False
        raise KeyboardInterrupt
