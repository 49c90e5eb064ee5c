"""Errands: calls in threads of their own, none of which can keep a run, or Python, from ending."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def send(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Future[T]:
    """Start a call in a daemon thread: one that hangs in the network is left behind when the process ends.

    (The threads of `concurrent.futures` are joined at exit, so a stalled server would decide when Ctrl-C works.)
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments, **options))
        except BaseException as error:  # noqa: BLE001  (a future carries any exception)
            future.set_exception(error)

    Thread(target=call, name="errand", daemon=True).start()
    return future
