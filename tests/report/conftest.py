"""A run folder as a run leaves it, small but with everything the page shows."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from skimage.draw import ellipse
from skimage.filters import gaussian
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_curve

from phenostream import objects
from phenostream.features.presets import MITOCHECK_157
from phenostream.profiles import field_json, part_bytes, rows
from phenostream.report.plates import row_name
from phenostream.values import Channel, Column, Field, FieldId, Objects, with_columns

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE units(key TEXT PRIMARY KEY, position INTEGER, study TEXT, plate TEXT, well TEXT, site TEXT, time INTEGER,
  z INTEGER, state TEXT, reason TEXT, step TEXT, message TEXT, remedy TEXT, error_id TEXT, part TEXT, rows INTEGER,
  bytes INTEGER, qc TEXT, annotation TEXT, seconds TEXT, finished REAL);
CREATE TABLE parts(path TEXT PRIMARY KEY, sha256 TEXT, bytes INTEGER, rows INTEGER);
CREATE TABLE fits(key TEXT PRIMARY KEY, plate TEXT, channel TEXT, path TEXT, sha256 TEXT, frames INTEGER);
"""
NAMES = [f"Nuclei_{name}" for name in MITOCHECK_157]
DESCRIBED = [
    Column(name, "feature", "Nuclei", name.split("_")[1], "DNA" if "_DNA" in name else "", positional="Center" in name)
    for name in NAMES
]


def nuclei(rng, count, shape=(288, 384)):
    """Labels and a picture of `count` bright ellipses."""
    labels = np.zeros(shape, np.int32)
    image = np.full(shape, 0.08)
    for number in range(1, count + 1):
        y, x = rng.uniform(10, shape[0] - 10), rng.uniform(10, shape[1] - 10)
        inside = ellipse(y, x, *rng.uniform(5, 8, 2), shape=shape, rotation=rng.uniform(0, np.pi))
        free = labels[inside] == 0
        labels[inside[0][free], inside[1][free]] = number
        image[inside] = rng.uniform(0.4, 1)
    return labels, gaussian(image, 1.5) + rng.normal(0, 0.02, shape)


def png(image, side=256):
    """8-bit PNG bytes, longest side `side`."""
    picture = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    picture.thumbnail((side, side))
    sink = io.BytesIO()
    picture.save(sink, "PNG")
    return sink.getvalue()


class RunFolder:
    """A run folder under construction."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(parents=True)
        self.database = sqlite3.connect(path / "ledger.db")
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=OFF")
        self.database.executescript(SCHEMA)
        self.count = 0
        self.meta(schema_version="1", created="2026-01-01T00:00:00Z")

    def meta(self, **pairs):
        self.database.executemany("INSERT OR REPLACE INTO meta VALUES(?,?)", pairs.items())
        self.database.commit()

    def add(
        self, plate="P1", well="A1", *, site="1", time=0, cells=None, state="done", rng=None, thumbnail=True, **more
    ):
        """One unit; with `cells` it has a part of that many objects."""
        part, qc, seconds = (None, None, 0, 0), {}, {}
        if cells is not None:
            rng = rng or np.random.default_rng(self.count)
            part = self.part(
                plate, well, site, time, cells, rng, thumbnail=thumbnail, channels=more.pop("channels", ("DNA",)),
                annotation=more.pop("annotation", {}),
            )  # fmt: skip
            qc = {"n_objects": cells, "mean_DNA": 300 + cells, "focus_DNA": float(rng.uniform(0.4, 0.6))}
            seconds = {"fetch": 0.31, "read": 0.02, "correct": 0.04, "segment": 0.4, "measure": 1.2, "write": 0.02}
        self.enrol(plate, well, site, time, state, part, {**qc, **more.pop("qc", {})}, seconds, **more)

    def enrol(self, plate, well, site, time, state, part, qc, seconds, **more):
        told = [more.get(key) for key in ("reason", "step", "message", "remedy", "error_id")]
        self.database.execute(
            "INSERT INTO units VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                f"{self.count:032x}", self.count, more.get("study", "demo"), plate, well, site, time, 0, state, *told,
                part[0], part[3], part[2], json.dumps(qc), "{}", json.dumps(seconds, sort_keys=True),
                1_770_000_000 + self.count if state != "waiting" else None,
            ),
        )  # fmt: skip
        self.database.commit()
        self.count += 1

    def part(self, plate, well, site, time, cells, rng, *, thumbnail, channels=("DNA",), annotation=None):
        labels, image = nuclei(rng, cells)
        seen = Field(
            FieldId("demo", plate, well, site, time), tuple(map(Channel, channels)), annotation=annotation or {},
            pixels=lambda: np.stack([image] * len(channels)),
        )  # fmt: skip
        found = Objects(seen.id, labels, model="classical-1")
        numbers = found.numbers()
        area = np.bincount(labels.ravel())[numbers]
        values = {name: rng.gamma(4, 2, len(numbers)) for name in NAMES} | {"Nuclei_AreaShape_Area": area.astype(float)}
        table = with_columns(
            pa.table({"ObjectNumber": pa.array(numbers, pa.int64()), **values}),
            [Column("ObjectNumber", "metadata"), *DESCRIBED],
        )
        metadata = {"phenostream.field": field_json(seen)}
        if thumbnail:
            metadata["phenostream.thumbnail"] = thumbnail if isinstance(thumbnail, bytes) else png(image)
        made = rows(seen, found, table, objects.outlines(labels))
        data = part_bytes(made, metadata=metadata)
        return self.keep("parts", ".parquet", data, made.num_rows)

    def keep(self, room, suffix, data, count=0):
        digest = hashlib.sha256(data).hexdigest()
        relative = f"{room}/{digest[:2]}/{digest}{suffix}"
        target = self.path / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if count or room == "parts":
            self.database.execute("INSERT OR IGNORE INTO parts VALUES(?,?,?,?)", (relative, digest, len(data), count))
        return relative, digest, len(data), count

    def fit(self, plate, channel):
        y, x = np.mgrid[-1:1:128j, -1:1:168j]
        sink = io.BytesIO()
        np.savez(sink, flatfield=1.1 - 0.3 * (x**2 + y**2), darkfield=np.full((128, 168), 12.0))
        path, digest, *_ = self.keep("illumination", ".npz", sink.getvalue())
        self.database.execute(
            "INSERT INTO fits VALUES(?,?,?,?,?,?)", (f"{plate}-{channel}", plate, channel, path, digest, 40)
        )

    def record(self, **more):
        told = {
            "phenostream": "0.1.0", "recipe_hash": "9f2c" * 8, "seed": 0, "source": "https://archive.example/plates",
            "recipe": {"source": {"catalog": "folder", "pattern": "*.tif"}, "segment": {"model": "classical"}},
            "steps": {"features": 1, "objects": 1}, "inputs": {"work.tsv": "ab" * 32}, "python": "3.11.7",
            "platform": "Linux", "libraries": {"numpy": "2.4.6", "pyarrow": "26.0.1"}, **more,
        }  # fmt: skip
        (self.path / "run.json").write_text(json.dumps(told), encoding="utf-8")

    def close(self):
        self.database.commit()
        self.database.close()
        return self.path


@pytest.fixture
def folder(tmp_path):
    """An empty run folder."""
    made = RunFolder(tmp_path / "run")
    yield made
    made.close()


def small(path) -> Path:
    """Two plates of 96 wells, a few fields measured, some rejected, failed and waiting."""
    made = RunFolder(path)
    rng = np.random.default_rng(1)
    for plate in ("LT0001_02", "LT0004_06"):
        for index in range(96):
            well = f"{row_name(index // 12)}{index % 12 + 1}"
            if index % 8 == 0:
                dose = {0: "0", 8: "1", 4: "10"}[index % 12]
                treated = {"Dose": dose, "Control": "negative control" if dose == "0" else "treated"}
                made.add(plate, well, cells=int(rng.integers(10, 90)), rng=rng, annotation=treated)
            elif index == 13:
                made.add(plate, well, state="rejected", reason="damaged", step="read", error_id="0a1b2c3d4e5f",
                         remedy="fetch the file again",
                         message="LT0001_02/00014_01.ch5: chunk 50 has a wrong checksum")  # fmt: skip
            elif index == 14:
                made.add(plate, well, state="failed", reason="unreachable", step="fetch", error_id="112233445566",
                         message="archive.example does not answer", remedy="run again later")  # fmt: skip
            elif index < 16:
                made.add(plate, well, state="waiting")
        made.fit(plate, "DNA")
    made.add("LT0004_06", "A1", site="2", state="rejected", reason="empty", step="read", message="no frames",
             error_id="77", remedy="")  # fmt: skip
    made.meta(
        seconds="83.2", last_seconds="83.2", peak_disk="123456789", disk_budget="2000000000", bytes_moved="40567890"
    )
    made.record()
    return made.close()


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """The run folder of `small`, made once: tests only read it."""
    return small(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture
def results():
    """What scikit-learn says of a made-up classifier of four phenotypes."""
    classes = ["Anaphase", "Apoptosis", "Interphase", "Metaphase"]
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 300)
    chances = rng.dirichlet(np.ones(4), 300) + 0.7 * np.eye(4)[truth]
    called = chances.argmax(axis=1)
    order = np.argsort(-chances, axis=1)
    ranks = np.zeros((4, 4), int)
    for one, row in zip(truth, order, strict=True):
        ranks[one, int(np.flatnonzero(row == one)[0])] += 1
    single = f1_score(truth, called, average=None)
    curves = []
    for at, name in enumerate(classes):
        precision, recall, _ = precision_recall_curve(truth == at, chances[:, at])
        curves.append({"name": name, "recall": recall.tolist(), "precision": precision.tolist()})
    weighted = f1_score(truth, called, average="weighted")
    sizes = np.bincount(truth, minlength=4).tolist()
    per_class = [{"name": name, "cells": sizes[at], "f1": float(single[at])} for at, name in enumerate(classes)]
    split = {
        "name": "leave one image out", "folds": 30, "cells": 300, "weighted_f1": weighted,
        "baselines": {"shuffled labels": 0.25}, "confusion": confusion_matrix(truth, called).tolist(),
        "per_class": per_class,
        "precision_recall": curves, "ranks": ranks.tolist(),
    }  # fmt: skip
    published = {"name": "random", "per_class": [{"name": "Anaphase", "f1": 0.9}]}
    return {
        "format": "phenostream.phenotypes", "version": 1, "classes": classes,
        "models": [{"name": "logistic regression", "splits": [split]}, {"name": "published", "splits": [published]}],
        "excluded": [{"name": "Folded", "cells": 44, "reason": "left out"}],
    }  # fmt: skip
