"""What needs to travel once: metadata that `recall` loads inside a `session`, and images that share a block.

Some containers can be read only a block at a time (the row group of a Parquet file). Whoever announces the planes that
will be read `together` has each block read once: the other images in it are put aside until they are asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from phenostream.values import Plane, Store

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


@dataclass(slots=True)
class _Announced:
    """Planes that will be read by and by.

    Attributes:
        blocks: of them, those that lie in one block, by store, key and place of the block.
        aside: their stored bytes, from when their block was read until they are asked for.
        stores: kept, so that no other takes their numbers.
    """

    blocks: dict[tuple[int, str, str], set[Plane]] = field(default_factory=dict)
    aside: dict[tuple[int, Plane], bytes] = field(default_factory=dict)
    stores: list[Store] = field(default_factory=list)


_announced: ContextVar[_Announced | None] = ContextVar("announced", default=None)


@contextmanager
def together(planes: Iterable[tuple[Store, Plane]]) -> Iterator[None]:
    """While `planes` are read, in any order: those that share a block share its reading. Inside another one: nothing.

    What is put aside is as much as is announced and not yet read, as it is stored.
    """
    if _announced.get() is not None:
        yield
        return
    told = _Announced()
    for store, plane in planes:
        told.blocks.setdefault((id(store), plane.key, _block(plane)), set()).add(plane)
        told.stores.append(store)
    token = _announced.set(told)
    try:
        yield
    finally:
        _announced.reset(token)


def stored(store: Store, plane: Plane, load: Callable[[set[Plane]], dict[Plane, bytes]]) -> bytes:
    """The stored bytes of an image: put aside before, or what `load` gives for it and for those of its block."""
    told = _announced.get()
    if told is None:
        return load({plane})[plane]
    if (found := told.aside.pop((id(store), plane), None)) is not None:
        return found
    wanted = told.blocks.get((id(store), plane.key, _block(plane)), set())
    loaded = load(wanted | {plane})
    told.aside.update({(id(store), one): data for one, data in loaded.items() if one != plane})
    wanted.clear()  # each is asked for once; one that is asked for again is read again, alone
    return loaded[plane]


def _block(plane: Plane) -> str:
    return plane.inner.rpartition("/")[0]
