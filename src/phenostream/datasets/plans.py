"""Plans: whose pack a folder is, so that packing goes on only where it may."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from phenostream.datasets import parts
from phenostream.datasets._files import write_bytes
from phenostream.datasets.coding import Coding
from phenostream.datasets.documents import digest, seal, unseal
from phenostream.datasets.looking import Kind, kind_of
from phenostream.datasets.shards import IMAGES
from phenostream.datasets.tables import IDENTITY
from phenostream.errors import DamagedError, LedgerError
from phenostream.values import FieldId

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phenostream.datasets.settings import PackSettings
    from phenostream.values import Field

DOCUMENT, PLAN = "pack.json", "plan.json"
INDEX, SHARDS, STATISTICS, FINDINGS = "index.parquet", "shards.parquet", "statistics.parquet", "findings.parquet"
_KNOWN: Final = {DOCUMENT, PLAN, INDEX, SHARDS, STATISTICS, FINDINGS, parts.FOLDER, IMAGES, "lock"}


def claim(root: Path, settings: PackSettings, fields: Sequence[Field]) -> Kind:
    """Make the folder this pack's, and say of which kind its sites are.

    Raises:
        LedgerError: it is another pack's, or sites that it holds are no longer given.
        DamagedError: neither its plan nor its description is what was written.
    """
    told = settings.model_dump(mode="json")
    known = _known(root)
    if known is None:
        kind = kind_of(fields, settings.channels)
    elif known["settings"] != told:
        raise LedgerError(f"{root} was packed with other settings", remedy="choose another folder")
    else:
        _check_grown(root, fields)
        kind = Kind(tuple(known["channels"]), Coding(tuple(known["shape"]), known["dtype"]))
    plan = {"settings": told, "channels": kind.channels, "shape": kind.coding.shape, "dtype": kind.coding.dtype}
    write_bytes(root / PLAN, seal(plan))
    return kind


def _known(root: Path) -> dict[str, Any] | None:
    """What was planned here, which a finished pack tells twice; None where nothing was."""
    for name in (PLAN, DOCUMENT):
        with suppress(FileNotFoundError, DamagedError):
            return unseal((root / name).read_bytes(), name)
    if (root / PLAN).exists():
        raise DamagedError(
            f"{PLAN} of {root} is damaged",
            remedy=f"delete {root / PLAN} and pack again with the same settings: shards that are whole are kept",
        )
    there = {entry.name for entry in root.iterdir()}
    if there > {"lock"} and not (parts.FOLDER in there and there <= _KNOWN):
        raise LedgerError(f"{root} is not empty and no pack", remedy="choose another folder")
    return None


def _check_grown(root: Path, fields: Sequence[Field]) -> None:
    if not (root / INDEX).is_file():
        return
    given = {one.id for one in fields}
    lost = [one for row in _stored(root) if (one := FieldId(**row)) not in given]
    if lost:
        raise LedgerError(
            f"{len(lost):,} sites of {root} are no longer given, the first {lost[0]}",
            remedy="give all sites again with the new ones, or choose another folder",
        )


def _stored(root: Path) -> list[dict[str, Any]]:
    """Identities of the sites that the pack holds: those of its index, or where that is damaged, of its parts."""
    with suppress(OSError, DamagedError, KeyError):
        data = (root / INDEX).read_bytes()
        if digest(data) == unseal((root / DOCUMENT).read_bytes(), DOCUMENT)["tables"][INDEX]:
            rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data), columns=list(IDENTITY)).to_pylist()
            return rows
    found: list[dict[str, Any]] = []
    for key in sorted(parts.keys(root)):
        with suppress(DamagedError):
            table = parts.load(root, key).table
            found += table.filter(table["offset"].is_valid()).select(list(IDENTITY)).to_pylist()
    return found
