"""Profiles: rows compiled, kept in parts, read through the ledger, exported to what other tools open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

if TYPE_CHECKING:
    from phenostream.profiles.by_well import wells
    from phenostream.profiles.compile import field_json, rows
    from phenostream.profiles.exporting import export, export_formats
    from phenostream.profiles.manifest import LEDGER_VERSION, Manifest, PartEntry, Unit
    from phenostream.profiles.operating import operate, operation_names
    from phenostream.profiles.parts import part_bytes, part_metadata, part_schema, read_part
    from phenostream.profiles.read import iter_profiles, profiles_schema, read_profiles
    from phenostream.profiles.reading import read_foreign
    from phenostream.profiles.recipe import run_recipe
    from phenostream.profiles.tables import open_table, write_table
    from phenostream.profiles.writing import replacing

__all__ = [
    "LEDGER_VERSION",
    "VERSION",
    "Manifest",
    "PartEntry",
    "Unit",
    "export",
    "export_formats",
    "field_json",
    "iter_profiles",
    "open_table",
    "operate",
    "operation_names",
    "part_bytes",
    "part_metadata",
    "part_schema",
    "profiles_schema",
    "read_foreign",
    "read_part",
    "read_profiles",
    "replacing",
    "rows",
    "run_recipe",
    "wells",
    "write_table",
]

#: Changes when the same measurements would compile to other rows or other bytes.
VERSION = 1

# Looked up on first use: Arrow's Parquet reader takes its time to import.
__getattr__ = on_first_use(
    __name__,
    {
        "field_json": "compile",
        "rows": "compile",
        "export": "exporting",
        "export_formats": "exporting",
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
        "replacing": "writing",
        "open_table": "tables",
        "operate": "operating",
        "operation_names": "operating",
        "read_foreign": "reading",
        "run_recipe": "recipe",
        "write_table": "tables",
        "wells": "by_well",
    },
)
