"""Where units are computed: in this process, or in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phenostream.stream.recipe import Recipe
    from phenostream.values import Store

# One worker is one core: libraries that would start threads of their own are held to one.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)


class Executor(Protocol):
    """Runs pure functions of picklable arguments."""

    workers: int

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Start one call."""
        ...

    def revive(self) -> None:
        """Replace workers after one died."""
        ...

    def close(self, *, kill: bool = False) -> None:
        """End the workers, at once where `kill`."""
        ...


@runtime_checkable
class FarExecutor(Executor, Protocol):
    """An executor whose workers may be other machines: they see no spool of this one, and fetch for themselves.

    Its calls of `steps.process` and `steps.shrink` give a `Delivery`.
    """

    def begin(self, recipe: Recipe, store: Store, folder: Path) -> None:
        """Tell what the calls of this run have in common."""
        ...


class Inline:
    """Computes in the calling thread; for tests, debuggers and notebooks."""

    workers = 1

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Compute now and give a finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001  (a future carries any exception)
            future.set_exception(error)
        return future

    def revive(self) -> None:
        """Nothing can have died."""

    def close(self, *, kill: bool = False) -> None:
        """Nothing to end."""


class Processes:
    """A pool of fresh processes, one a core, that import once and keep their models."""

    def __init__(self, workers: int = 0) -> None:
        """`workers` processes; one per core where 0."""
        self.workers = workers or os.cpu_count() or 1
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
        )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Queue one call."""
        with _bare_start():  # the pool starts its processes inside submit
            try:
                return self._pool.submit(function, *arguments)
            except BrokenProcessPool as error:
                # Settled like a death during the call, so that one place decides what happens next.
                broken: Future[Any] = Future()
                broken.set_exception(error)
                return broken

    def revive(self) -> None:
        """A fresh pool in the place of a broken one."""
        self.close(kill=True)
        self._pool = self._start()

    def close(self, *, kill: bool = False) -> None:
        """End the processes; with `kill`, without waiting for their work."""
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        if kill:
            for process in processes:
                process.kill()
        self._pool.shutdown(wait=True, cancel_futures=kill)


@contextmanager
def _bare_start() -> Iterator[None]:
    """What a new process inherits: one thread a library, and nothing of the caller's script.

    A fresh process would import the caller's ``__main__`` again; a script without a main guard would then start itself
    over. Workers need only importable functions, so they get an empty main module.
    """
    # Ctrl-C reaches every process of a terminal: one that is just starting would die of it with a traceback.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    main = sys.modules["__main__"]
    os.environ.update(_ONE_THREAD)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin(parent: int) -> None:
    """Leave Ctrl-C to the conductor, and do not outlive it."""
    import ctypes  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: Linux ends the worker with its parent
    except (AttributeError, OSError):
        return
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
