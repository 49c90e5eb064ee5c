"""A field with known objects, and run folders written as the ledger's contract says."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from phenostream.profiles import part_bytes, rows
from phenostream.values import Column, Field, FieldId, Objects, with_columns

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE units(key TEXT PRIMARY KEY, position INTEGER, study TEXT, plate TEXT, well TEXT, site TEXT, time INTEGER,
  z INTEGER, state TEXT, reason TEXT, step TEXT, message TEXT, error_id TEXT, part TEXT, rows INTEGER, bytes INTEGER,
  qc TEXT, annotation TEXT, seconds TEXT);
CREATE TABLE parts(path TEXT PRIMARY KEY, sha256 TEXT, bytes INTEGER, rows INTEGER);
"""


def squares(count: int) -> np.ndarray:
    """`count` squares of 5 x 5 pixels in a row, labels 1, 2, 3 ..."""
    labels = np.zeros((20, 10 * count + 10), np.int32)
    for index in range(count):
        labels[5:10, 10 * index + 5 : 10 * index + 10] = index + 1
    return labels


def ring(index: int) -> np.ndarray:
    """The corners (y, x) of that square."""
    left = 10 * index + 5
    return np.array([(5, left), (5, left + 4), (9, left + 4), (9, left)])


def measured(count: int, features: dict[str, bool], seed: int = 0) -> pa.Table:
    """A measurement table: each feature with whether it is positional."""
    rng = np.random.default_rng(seed)
    numbers = {"ObjectNumber": pa.array(range(1, count + 1), pa.int64())}
    table = pa.table({**numbers, **{name: rng.normal(size=count) for name in features}})
    described = [
        Column(name, "feature", "Nuclei", name.split("_")[1], positional=positional)
        for name, positional in features.items()
    ]
    return with_columns(table, [Column("ObjectNumber", "metadata"), *described])


FEATURES = {
    "Nuclei_AreaShape_Area": False,
    "Nuclei_AreaShape_Center_X": True,
    "Nuclei_Intensity_MeanIntensity_DNA": False,
}


def compiled(well="A4", count=3, *, time=49, features=FEATURES, annotations=None, outlines=True, plate="LT0001_02"):
    """Profile rows of one small field."""
    own = Field(FieldId("idr0013", plate, well, "1", time))
    return rows(
        own,
        Objects(own.id, squares(count), model="classical-1"),
        measured(count, features, seed=sum(well.encode())),
        [ring(index) for index in range(count)] if outlines else None,
        annotations={"gene": "KIF11"} if annotations is None else annotations,
    )


@dataclass
class RunFolder:
    """A run folder under construction."""

    path: Path
    database: sqlite3.Connection
    units: list = field(default_factory=list)

    def meta(self, **pairs):
        self.database.executemany("INSERT OR REPLACE INTO meta VALUES(?,?)", pairs.items())
        self.database.commit()

    def add(
        self, table=None, *, well="A4", plate="LT0001_02", time=49, state="done", position=None, metadata=None, **more
    ):
        """One unit; `table` becomes its part."""
        place = len(self.units) if position is None else position
        part = self._part(table, metadata or {}) if table is not None else (None, None, 0, 0)
        if part[0]:
            self.database.execute("INSERT OR IGNORE INTO parts VALUES(?,?,?,?)", part)
        self.units.append(well)
        self.database.execute(
            "INSERT INTO units VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                f"{len(self.units):032x}", place, "idr0013", plate, well, "1", time, 0, state, more.get("reason"),
                more.get("step"), more.get("message"), more.get("error_id"), part[0], part[3], part[2],
                json.dumps(more.get("qc", {})), json.dumps(more.get("annotation", {})),
                json.dumps(more.get("seconds", {})),
            ),
        )  # fmt: skip
        self.database.commit()
        return self.path / part[0] if part[0] else None

    def _part(self, table, metadata):
        data = part_bytes(table, metadata=metadata)
        digest = hashlib.sha256(data).hexdigest()
        relative = f"parts/{digest[:2]}/{digest}.parquet"
        target = self.path / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return relative, digest, len(data), table.num_rows


@pytest.fixture
def make():
    """`compiled`: rows of one small field."""
    return compiled


@pytest.fixture
def measure():
    """`measured`: a measurement table of made-up features."""
    return measured


@pytest.fixture
def folder(tmp_path):
    """A run folder with an empty ledger in WAL mode, as a run leaves it."""
    path = tmp_path / "run"
    path.mkdir()
    database = sqlite3.connect(path / "ledger.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript(SCHEMA)
    made = RunFolder(path, database)
    made.meta(schema_version="1", recipe_hash="abc", created="2026-01-01T00:00:00Z")
    yield made
    database.close()
