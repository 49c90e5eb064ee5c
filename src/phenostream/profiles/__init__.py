"""Profiles: rows compiled, kept in parts, read through the ledger, exported to what other tools open."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.profiles.compile import rows
    from phenostream.profiles.manifest import LEDGER_VERSION, Manifest, PartEntry, Unit
    from phenostream.profiles.parts import part_bytes, part_metadata, part_schema, read_part
    from phenostream.profiles.read import iter_profiles, profiles_schema, read_profiles

__all__ = [
    "LEDGER_VERSION",
    "Manifest",
    "PartEntry",
    "Unit",
    "iter_profiles",
    "part_bytes",
    "part_metadata",
    "part_schema",
    "profiles_schema",
    "read_part",
    "read_profiles",
    "rows",
]

# Looked up on first use: Arrow's Parquet reader takes its time to import.
_MODULES = {
    "rows": "compile",
    "LEDGER_VERSION": "manifest",
    "Manifest": "manifest",
    "PartEntry": "manifest",
    "Unit": "manifest",
    "part_bytes": "parts",
    "part_metadata": "parts",
    "part_schema": "parts",
    "read_part": "parts",
    "iter_profiles": "read",
    "profiles_schema": "read",
    "read_profiles": "read",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"phenostream.profiles.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'phenostream.profiles' has no attribute {name!r}")
