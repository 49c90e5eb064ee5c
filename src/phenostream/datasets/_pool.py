"""Calls on threads or on other processes, a few ahead of their results."""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from phenostream.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_WORKERS = 16
Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs pure functions of picklable arguments: `phenostream.stream.Processes`, Dask's, `concurrent.futures`'.

    Its attribute `workers`, where it has one, says how many calls it runs at a time.
    """

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Start one call."""
        ...


def ahead(
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    *,
    workers: int = 1,
    executor: Executor | None = None,
) -> Iterator[Result]:
    """Results of `function` for each of `arguments` as they are ready, at most two calls a worker under way.

    Without an `executor` they run on `workers` threads. The first error ends it: calls that have begun are waited for,
    others are not begun, and it goes up. Raises StepError where a worker process died.
    """
    if executor is not None:
        yield from _ahead(executor.submit, function, arguments, 2 * int(getattr(executor, "workers", _WORKERS)))
    elif workers <= 1:
        for one in arguments:
            yield function(one)
    else:
        with ThreadPoolExecutor(workers) as pool:
            yield from _ahead(pool.submit, function, arguments, 2 * workers)


def _ahead(
    submit: Callable[..., Future[Any]], function: Callable[[Argument], Result], arguments: Iterable[Argument], most: int
) -> Iterator[Result]:
    left = deque(arguments)
    running: set[Future[Any]] = set()
    try:
        while left or running:
            while left and len(running) < most:
                running.add(submit(function, left.popleft()))
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                yield _result(future)
    finally:
        for future in running:
            future.cancel()
        wait(running)


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise StepError(
            "a worker process died, perhaps for want of memory", remedy="run it again: what is done is kept"
        ) from error
