"""Packed data: screens into shards and an index, any site in one read, and the formats of other tools."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.datasets.packing import Packed, pack
    from phenostream.datasets.packs import Pack, open_pack
    from phenostream.datasets.screens import Screen, load_site, open_screen
    from phenostream.datasets.settings import PackSettings

__all__ = ["Pack", "PackSettings", "Packed", "Screen", "load_site", "open_pack", "open_screen", "pack"]

_MODULES = {
    "Pack": "packs",
    "PackSettings": "settings",
    "Packed": "packing",
    "Screen": "screens",
    "load_site": "screens",
    "open_pack": "packs",
    "open_screen": "screens",
    "pack": "packing",
}


# Looked up on first use: some commands import this room for its names only.
def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
