"""The tables that idrstream writes: a folder of ``batch_N.csv.gz``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phenostream.errors import NotFoundError
from phenostream.profiles.readers import table

if TYPE_CHECKING:
    from pathlib import Path

    from phenostream.profiles.tables import Source

_BATCH = re.compile(r"batch_(\d+)\.csv\.gz")

Settings = table.Settings


def recognises(path: Path) -> bool:
    """Whether it is a folder with a batch in it."""
    return path.is_dir() and any(_BATCH.fullmatch(entry.name) for entry in path.iterdir())


def read(path: Path, settings: table.Settings) -> Source:
    """All batches in the order of their numbers, as one table; the index column without a name is left out.

    Raises:
        NotFoundError: no batch in the folder.
    """
    numbered = [(int(found[1]), entry) for entry in path.iterdir() if (found := _BATCH.fullmatch(entry.name))]
    if not numbered:
        raise NotFoundError(f"no batch_N.csv.gz in {path}")
    rows = table.Csv(tuple(entry for _, entry in sorted(numbered)), settings)
    schema = rows.schema()
    return table.chosen(rows, [name for name in schema.names if name])
