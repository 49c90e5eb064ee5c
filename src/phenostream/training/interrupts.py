"""Ctrl-C and SIGTERM while training: the step under way is finished and kept; whoever asks twice means it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Asked:
    """Whether somebody has asked to stop."""

    def __init__(self) -> None:
        self.stop = False

    def arrive(self, _number: int, _frame: FrameType | None) -> None:
        """Note the first signal; the second interrupts at once."""
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True


@contextmanager
def listening() -> Iterator[Asked]:
    """Note SIGINT and SIGTERM instead of falling; outside the main thread there is nothing to hear."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, asked.arrive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
