"""Metadata that needs to travel once: what `recall` loads inside a `session` is loaded once."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phenostream.values import Store

T = TypeVar("T")
_session: ContextVar[dict[tuple[int, str, str], Any] | None] = ContextVar("session", default=None)


@contextmanager
def session() -> Iterator[None]:
    """While one field is read: its channels share metadata. Never longer, for a folder may be rewritten."""
    token = _session.set({})
    try:
        yield
    finally:
        _session.reset(token)


def recall(store: Store, kind: str, key: str, load: Callable[[], T]) -> T:
    """`load()`, or what it gave before in this session for this store, `kind` and `key`."""
    kept = _session.get()
    if kept is None:
        return load()
    name = (id(store), kind, key)
    if name not in kept:
        kept[name] = load()
    found: T = kept[name]
    return found
