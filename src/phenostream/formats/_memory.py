"""Metadata that needs to travel once: kept per store, and only for stores that say their blobs never change."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from phenostream.values import Store

T = TypeVar("T")
_ENTRIES = 4096
_kept: OrderedDict[tuple[object, str, str], object] = OrderedDict()
_lock = Lock()


def recall(store: Store, kind: str, key: str, load: Callable[[], T]) -> T:
    """`load()`, or what it gave before for this store, `kind` and `key`.

    Remembers only for stores with a true attribute ``immutable`` (a published archive): a local folder may be
    rewritten between two reads, and re-reading it costs little. Stores that compare equal share what is remembered.
    The least recently used of 4096 entries goes first.
    """
    if not getattr(store, "immutable", False):
        return load()
    try:
        name = (store, kind, key)
        with _lock:
            if name in _kept:
                _kept.move_to_end(name)
                return _kept[name]  # type: ignore[return-value]
    except TypeError:
        return load()
    value = load()
    with _lock:
        _kept[name] = value
        while len(_kept) > _ENTRIES:
            _kept.popitem(last=False)
    return value
