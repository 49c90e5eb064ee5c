"""One unit's work on another machine: the worker fetches for itself, within the disk budget of its machine.

Nothing here knows what brings calls to a machine. Processes of one machine share a folder, and through it one budget.
"""

from __future__ import annotations

import atexit
import json
import platform
import shutil
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenostream import formats, images, objects, profiles
from phenostream.errors import ClusterError, DamagedError, UnsettledError
from phenostream.features import MeasureSettings
from phenostream.sources import LocalStore, RemoteStore
from phenostream.stream.budget import Lease, LeaseTooSmallError
from phenostream.stream.claims import SharedBudget, place_for
from phenostream.stream.fetch import Fetcher
from phenostream.stream.folder import named_disk
from phenostream.stream.provenance import libraries
from phenostream.stream.recipe import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from phenostream.stream.fetch import Bundle
    from phenostream.stream.steps import Task

_FIRST_LEASE = 4 * 1024 * 1024
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Site:
    """What every call of a run has in common.

    Attributes:
        token: of the run and its settings; another one, another place in a worker.
        store: where the bytes come from, as seen from the machines.
        steps: the recipe's steps as canonical JSON.
        budget: bytes of disk that the run may use on each machine.
        budget_folder: where processes of one machine find each other; empty: beside their scratch.
        versions: of everything that decides a part's bytes, where the run was started.
    """

    token: str
    store: LocalStore | RemoteStore
    steps: str
    budget: int
    budget_folder: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a result's bytes came from: digest of what was fetched, and how long that took."""

    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """What comes back: the result, its origin, bytes moved since the last one, and the machine's peak of disk."""

    result: Any
    origin: Origin
    moved: int
    refetched: int
    peak: int


def work(site: Site, scratch: str, function: Callable[[Task], Any], task: Task) -> Delivery:
    """Fetch the task's field into `scratch` of this machine, run `function` on it, and leave nothing behind.

    Raises:
        ClusterError: this machine's installation differs, or it does not see the run's folder of images.
        PhenostreamError: as fetching and `function` raise.
    """
    _check_versions(site)
    with _post(site, scratch) as post:
        try:
            return _attempt(post, function, task, refetched=0)
        except (DamagedError, UnsettledError):
            if isinstance(site.store, LocalStore):
                raise
            # The network may have damaged, or a mirror told otherwise, what the archive has whole: ask once more.
            post.fetcher.forget()
            return _attempt(post, function, task, refetched=1)


def _attempt(post: _Post, function: Callable[[Task], Any], task: Task, *, refetched: int) -> Delivery:
    bundle = post.fetch(task)
    try:
        # One field is computed at a time, whatever the number of threads: the others fetch ahead.
        with post.computing:
            result = function(task.at(bundle.folder))
    finally:
        bundle.discard()
    return Delivery(result, Origin(bundle.digest, bundle.seconds), post.moved(), refetched, post.budget.peak)


def _check_versions(site: Site) -> None:
    here = versions(site.steps)
    differing = [
        f"{name} {here.get(name, 'missing')} instead of {wanted}"
        for name, wanted in site.versions.items()
        if here.get(name) != wanted
    ]
    if differing:
        raise ClusterError(
            f"the worker on {platform.node()} has other versions: {', '.join(differing)}",
            remedy="install on the workers what is installed where the run is started",
        )


@lru_cache(maxsize=4)
def versions(steps: str) -> dict[str, str]:
    """What decides the bytes of a part beside pixels and recipe, as installed here."""
    told = json.loads(steps)
    return libraries() | {
        "formats": str(formats.VERSION),
        "images": str(images.VERSION),
        "profiles": str(profiles.VERSION),
        "segmenter": objects.build(objects.settings(told["segment"])).digest,
        "features": digest(MeasureSettings(**told["measure"]).versions()),
    }


class _Post:
    """One process's place in a run: spool, share of the machine's budget, fetcher."""

    def __init__(self, site: Site, scratch: Path) -> None:
        if isinstance(site.store, LocalStore) and not _is_folder(site.store.base):
            raise ClusterError(
                f"the worker on {platform.node()} does not see {site.store.base}",
                remedy="put the images on storage that all machines share under one path, or read them by URL",
            )
        told = json.loads(site.steps)
        scratch /= f"phenostream-{platform.node()}"
        place = place_for(scratch, site.budget_folder) if site.budget_folder else scratch
        self.budget = MachineBudget(site.budget, place, scratch=scratch)
        self.computing = threading.Lock()
        self._stop = threading.Event()
        self.fetcher = Fetcher(
            site.store, self.budget.spool,
            segmenter=objects.build(objects.settings(told["segment"])),
            window=told["correct"]["method"] == "idrstream", stop=self._stop,
        )  # fmt: skip
        self.hands = 0
        self._store = site.store
        self._told = 0
        self._largest = 0
        self._lock = threading.Lock()

    def fetch(self, task: Task) -> Bundle:
        """The task's bytes, as soon as the machine's budget has room for them."""
        wanted = min(max(self._largest, _FIRST_LEASE), self.budget.total)
        while True:
            lease = self._lease(wanted)
            try:
                bundle = self.fetcher.fetch(uuid.uuid4().hex, task.field, lease)
            except LeaseTooSmallError as error:
                wanted = max(error.wanted, min(2 * wanted, self.budget.total))
            else:
                self._largest = max(self._largest, bundle.lease.size)
                return bundle

    def _lease(self, wanted: int) -> Lease:
        while (lease := self.budget.lease(wanted)) is None:
            time.sleep(_PAUSE)
        return lease

    def moved(self) -> int:
        """Bytes that came in since this was last asked."""
        with self._lock:
            now = self._store.traffic.bytes
            moved, self._told = now - self._told, now
        return moved

    def leave(self) -> None:
        """Stop transfers and give up the place; nothing stays on disk."""
        self._stop.set()
        self.budget.leave()


_posts: dict[str, _Post] = {}
_posting = threading.Lock()


@contextmanager
def _post(site: Site, scratch: str) -> Iterator[_Post]:
    """This process's place in the run; places in which nobody works are left once another one is needed."""
    with _posting:
        if site.token not in _posts:
            _leave_idle_posts()
            _posts[site.token] = _Post(site, Path(scratch or tempfile.gettempdir()))
        post = _posts[site.token]
        post.hands += 1
    try:
        yield post
    finally:
        with _posting:
            post.hands -= 1


def _leave_idle_posts() -> None:
    for token in [token for token, post in _posts.items() if not post.hands]:
        _posts.pop(token).leave()


atexit.register(_leave_idle_posts)


class MachineBudget(SharedBudget):
    """A budget that all processes of one machine share through a folder.

    Attributes:
        spool: where this process may write; gone once the process is.
    """

    def __init__(self, total: int, place: Path, *, scratch: Path | None = None) -> None:
        """A share in the budget of `total` bytes whose claims lie in `place`; the spool lies there, or in `scratch`."""
        name = uuid.uuid4().hex
        self.spool = (scratch or place) / name
        super().__init__(total, place, name=name, scratch=self.spool)
        self.join()
        with named_disk(self.spool):
            self.spool.mkdir(parents=True)

    def leave(self) -> None:
        """Give up the claim; bytes of this process are deleted."""
        shutil.rmtree(self.spool, ignore_errors=True)
        super().leave()


def _is_folder(base: str) -> bool:
    return Path(base.removeprefix("file://")).is_dir()
