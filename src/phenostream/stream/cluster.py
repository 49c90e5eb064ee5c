"""Many machines: units computed by the workers of a Dask cluster, each fetching for itself.

Only results travel: the parts come back as bytes and are written where the run was started, by the same protocol as
ever. Whoever starts the workers (SLURM, Kubernetes, a cloud, SSH) does not matter; the address of the scheduler does.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from phenostream.errors import ClusterError, MissingExtraError, PhenostreamError, StepError
from phenostream.sources import LocalStore, RemoteStore
from phenostream.stream import steps
from phenostream.stream.afar import Site, versions, work
from phenostream.stream.recipe import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    import distributed

    from phenostream.stream.afar import Delivery
    from phenostream.stream.recipe import Recipe

_FRESH = 2.0
_LAST_WORDS = 10.0
_AGAIN = "run the same command again when the scheduler is back: nothing is lost"


class Dask:
    """Computes on the workers of a Dask cluster.

    A worker that is lost takes nothing with it: the scheduler gives its units to others. One that keeps dying with the
    same unit in hand (``distributed.scheduler.allowed-failures``) fails that unit.
    """

    def __init__(self, scheduler: str | distributed.Client, *, timeout: float = 30.0) -> None:
        """Connect to the scheduler at this address, or take a connected client, which stays open at the end.

        Raises:
            ClusterError: nobody answers within `timeout` seconds.
            MissingExtraError: Dask is not installed.
        """
        distributed = _dask()
        self._own = isinstance(scheduler, str)
        try:
            self._client: Any = (
                distributed.Client(scheduler, timeout=timeout, set_as_default=False, name="phenostream")
                if isinstance(scheduler, str)
                else scheduler
            )
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {scheduler}", remedy="start one, or correct --scheduler"
            ) from error
        self._site: Site | None = None
        self._memory = 0
        self._models: dict[str, Any] = {}
        self._flying: dict[Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._threads = 0
        self._looked = float("-inf")

    def begin(self, recipe: Recipe, store: LocalStore | RemoteStore, folder: Path) -> None:
        """Tell what the calls of this run have in common; disk budget, memory and rate are those of each machine."""
        hosts = Counter(told["host"] for told in self._client.scheduler_info(n_workers=-1)["workers"].values())
        text = recipe.canonical_steps()
        name = digest([str(folder.resolve())])[:12]
        shared = _as_seen_from_afar(store, processes=sum(hosts.values()))
        budget = int(recipe.stream.disk_budget)
        place = recipe.stream.budget_folder
        token = digest([name, text, shared.base, shared.options.model_dump(mode="json"), budget, place])
        self._site = Site(token, shared, text, budget, place, versions(text))
        self._memory = int(recipe.stream.memory) // max(hosts.values(), default=1)

    @property
    def workers(self) -> int:
        """Jobs to keep under way: two for every thread, so that none waits for this machine. Raises ClusterError."""
        if self._client.status != "running":
            raise self._gone()
        if time.monotonic() - self._looked > _FRESH:
            try:
                self._threads = sum(self._client.nthreads().values())
            except (OSError, RuntimeError) as error:
                raise self._gone() from error
            self._looked = time.monotonic()
        return max(1, 2 * self._threads)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand one call to the scheduler; work on a field becomes fetching and work."""
        told: Future[Any] = Future()
        key = f"phenostream-{function.__name__}-{uuid4().hex}"
        try:
            if function in (steps.process, steps.shrink):
                called = self._far_call(key, function, *arguments)
            else:
                called = self._client.submit(_told, function, *arguments, key=key)
        except (OSError, RuntimeError) as error:  # the connection is closed
            told.set_exception(self._gone(error))
            return told
        with self._lock:
            self._flying[told] = called
        called.add_done_callback(lambda done: self._settle(told, done))
        return told

    def _far_call(self, key: str, function: Callable[..., Any], task: steps.Task) -> Any:
        models = [self._model(str(fit)) for fit in task.fits.values()]
        bare = replace(task, fits=dict.fromkeys(task.fits, ""), memory=self._memory)
        return self._client.submit(_call, self._site, function, bare, *models, key=key)

    def _model(self, path: str) -> Any:
        """An illumination model as a call that gives its bytes: lost with a worker, the scheduler makes them again."""
        if path not in self._models:
            key = f"phenostream-model-{Path(path).stem}"
            self._models[path] = self._client.submit(_same, Path(path).read_bytes(), key=key)
        return self._models[path]

    def _settle(self, told: Future[Any], called: Any) -> None:
        """Bring a finished call over; runs in a thread of the client."""
        with self._lock:
            wanted = self._flying.pop(told, None) is not None
        if not wanted:
            return
        try:
            error = called.exception() if called.status == "error" else None
            result = called.result() if called.status == "finished" else None
            if isinstance(result, PhenostreamError):
                told.set_exception(result)
            elif called.status == "finished":
                told.set_result(result)
            elif error is not None:
                told.set_exception(self._named(error))
            else:
                told.set_exception(self._gone())
        except Exception as error:  # noqa: BLE001  (a future carries any exception)
            told.set_exception(self._gone(error))

    def _named(self, error: BaseException) -> PhenostreamError:
        """The error of a call under this project's name for it."""
        if isinstance(error, _dask().KilledWorker):
            return StepError(
                "the workers that had this unit in hand died",
                remedy="memory? give workers more, or leave the field out",
            ).at(step="compute")
        told = ClusterError(
            f"a worker could not take a call: {type(error).__name__}: {error}",
            remedy="install on the workers what is installed where the run is started",
        )
        told.__cause__ = error
        return told

    def _gone(self, cause: BaseException | None = None) -> ClusterError:
        error = ClusterError("the connection to the Dask scheduler is lost", remedy=_AGAIN)
        error.__cause__ = cause
        return error

    def revive(self) -> None:
        """Nothing to do: whoever started the workers replaces them."""

    def close(self, *, kill: bool = False) -> None:
        """Give up what is not finished, and disconnect; the cluster itself is its owner's."""
        with self._lock:
            flying = list(self._flying.values())
            self._flying.clear()
        self._models.clear()
        try:
            if self._client.status == "running" and flying:
                self._client.cancel(flying, force=kill)
        except (OSError, RuntimeError):  # the scheduler is gone, and with it what it was asked
            pass
        if self._own:
            self._client.close(timeout=_LAST_WORDS)


def _dask() -> Any:
    """The package `distributed`. Raises MissingExtraError."""
    try:
        return import_module("distributed")
    except ImportError as error:
        raise MissingExtraError.of("distributed", "cluster") from error


def _call(
    site: Site, function: Callable[[steps.Task], Any], task: steps.Task, *models: bytes
) -> Delivery | PhenostreamError:
    """On the worker: the task with its models, done beside the worker's own scratch."""
    scratch = os.fspath(Path(_dask().get_worker().local_directory).parent)
    whole = replace(task, fits=dict(zip(task.fits, models, strict=True)))
    told: Delivery | PhenostreamError = _told(work, site, scratch, function, whole)
    return told


def _told(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` gives, or its error as a value: an input that is rejected is no trouble of the worker's."""
    try:
        return function(*arguments)
    except PhenostreamError as error:
        return error.alone()


def _same(payload: bytes) -> bytes:
    return payload


def _as_seen_from_afar(store: LocalStore | RemoteStore, *, processes: int) -> LocalStore | RemoteStore:
    """The store with its path made absolute, or with its rate divided among the workers' processes."""
    if isinstance(store, LocalStore):
        return LocalStore(store.base if "://" in store.base else os.path.abspath(store.base), store.options)
    rate = store.options.rate
    return RemoteStore(
        store.base, store.options.model_copy(update={"rate": rate / max(1, processes) if rate else None})
    )
