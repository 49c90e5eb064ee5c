"""Tiny plates and light recipes, so that a hundred runs fit into a minute; and what a finished run folder must be."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pyarrow as pa
import tifffile

from phenostream import profiles
from phenostream.errors import NotFoundError
from phenostream.stream.folder import open_folder
from phenostream.stream.ledger import Ledger, Outcome, Part
from phenostream.stream.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FITTED: dict[str, Any] = {"correct": {"method": "basic", "frames": 2, "working_size": 16}}
"""Steps that make a light recipe fit illumination, too."""

_SIDE = 48
_PLACES = ((14, 14), (34, 32))


def image(seed: int) -> NDArray[np.uint8]:
    """Two bright discs on a noisy background, (48, 48) uint8."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(12, 2, (_SIDE, _SIDE))
    rows, columns = np.ogrid[:_SIDE, :_SIDE]
    for row, column in _PLACES:
        pixels[(rows - row) ** 2 + (columns - column) ** 2 < rng.integers(6, 9) ** 2] += 100
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_plate(root: Path, wells: int, name: str = "P1") -> Path:
    """Write ``root/<name>/<well>_s1_w1.png`` for so many wells, 24 a row; `root` again."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(wells):
        path = folder / f"{ascii_uppercase[number // 24]}{number % 24 + 1}_s1_w1.png"
        path.write_bytes(imagecodecs.png_encode(image(number), level=1))
    return root


def light_recipe(base: str | Path, **stream: Any) -> dict[str, Any]:
    """A recipe for such a plate that takes milliseconds a unit; `stream` overrides settings of that step."""
    return {
        "source": {
            "catalog": "folder",
            "base": str(base),
            "pattern": "{plate}/{well}_s{site}_w{channel}.png",
            "channels": {"1": "DNA"},
        },
        "correct": {"method": "none"},
        "segment": {"model": "classical", "channel": "DNA"},
        "measure": {"families": ["intensity"]},
        "output": {"thumbnail": 0, "outlines": False},
        "stream": {"disk_budget": 1_000_000, "batch_size": 3, "fetchers": 2, "workers": 1} | stream,
    }


def large_recipe(root: Path, *, wells: int, side: int, channels: int = 8, **stream: Any) -> dict[str, Any]:
    """A plate of large fields in `root` and the recipe that measures all of it; a field has sixty nuclei.

    However many wells there are, they share two sets of files: a plate of many gigabytes takes little disk.
    """
    for number in range(wells):
        name = f"{ascii_uppercase[number // 24]}{number % 24 + 1}_s1"
        for channel in range(1, channels + 1):
            path = root / "P1" / f"{name}_w{channel}.tif"
            if number < 2:
                path.parent.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(path, _large_image(number * channels + channel, side))
            else:
                path.hardlink_to(root / "P1" / f"A{number % 2 + 1}_s1_w{channel}.tif")
    recipe = light_recipe(root, **{"disk_budget": 500_000_000} | stream)
    recipe["source"] |= {
        "pattern": "{plate}/{well}_s{site}_w{channel}.tif",
        "channels": {str(number): f"C{number}" for number in range(2, channels + 1)} | {"1": "DNA"},
    }
    return recipe | FITTED | {"measure": {}}


def _large_image(seed: int, side: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(200, 10, (side, side))
    rows, columns = np.mgrid[-12:13, -12:13]
    for y, x in rng.integers(14, side - 14, (60, 2)):
        pixels[y - 12 : y + 13, x - 12 : x + 13][rows**2 + columns**2 < 140] += 800
    return pixels.astype(np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a finished run folder holds: every part's path (its name is its hash), and all rows in plan order."""

    parts: tuple[str, ...]
    rows: pa.Table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and self.parts == other.parts and bool(self.rows.equals(other.rows))

    __hash__ = None  # type: ignore[assignment]


def result_of(folder: Path) -> Result:
    """The result in `folder`, read through its ledger."""
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        parts = tuple(row[0] for row in ledger.execute("SELECT path FROM parts ORDER BY path"))
    return Result(parts, profiles.read_profiles(folder))


def faults_of(folder: Path, reference: Result, inputs: int) -> list[str]:
    """What is wrong with a run folder that should equal `reference`: lost, doubled, torn, left over; empty: nothing."""
    found = [f"{fault.kind} {fault.path}: {fault.message}" for fault in verify(folder).faults]
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        counts = dict(ledger.execute("SELECT state, count(*) FROM units GROUP BY state"))
    if counts != {"done": inputs}:
        found.append(f"{inputs} inputs, accounted for: {counts}")
    told = result_of(folder)
    if told != reference:
        found.append(f"lost {set(reference.parts) - set(told.parts)}, foreign {set(told.parts) - set(reference.parts)}")
    cells = told.rows["CellId"].to_pylist()
    if len(cells) != len(set(cells)):
        found.append(f"{len(cells) - len(set(cells))} rows doubled")
    return found


def torn(folder: Path) -> list[str]:
    """What a reader would stumble over in a folder whose run has just died: nothing, at any moment."""
    try:
        found = verify(folder).faults
    except NotFoundError:  # it died before there was anything to read
        return []
    return [f"{fault.kind} {fault.path}: {fault.message}" for fault in found if fault.kind != "foreign"]


def write_run(folder: Path, units: int, fits: int = 0) -> Path:
    """A run folder with a part of three rows for each of so many units, made through the ledger in a second."""
    open_folder(folder)
    with closing(Ledger(folder, create=True)) as ledger:
        ledger.enrol(
            (f"{number:032x}", number, "s", f"P{number // 96}", f"A{number % 96 + 1}", "1", number % 5, 0, "{}")
            for number in range(units)
        )
        ledger.record(_outcome(folder, number) for number in range(units))
        for number in range(fits):
            path, sha256 = _shelve(folder, f"model {number}".encode(), "illumination", ".npz")
            ledger.record_fit(f"{number}-DNA", plate=f"P{number}", channel="DNA", path=path, sha256=sha256, frames=4)
        ledger.put(inputs=str(units))
    return folder


def _outcome(folder: Path, number: int) -> Outcome:
    rows = pa.table({"ObjectNumber": pa.array([1, 2, 3]), "Nuclei_Mean": pa.array([number + 0.5] * 3, pa.float32())})
    told = {"study": "s", "plate": f"P{number // 96}", "well": f"A{number % 96 + 1}", "site": "1"}
    field = json.dumps(told | {"time": number % 5, "z": 0, "annotation": {}}, sort_keys=True).encode()
    payload = profiles.part_bytes(rows, metadata={"phenostream.field": field})
    path, sha256 = _shelve(folder, payload, "parts", ".parquet")
    return Outcome(f"{number:032x}", "done", Part(path, sha256, len(payload), 3))


def _shelve(folder: Path, payload: bytes, room: str, suffix: str) -> tuple[str, str]:
    sha256 = hashlib.sha256(payload).hexdigest()
    path = folder / room / sha256[:2] / f"{sha256}{suffix}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(payload)
    return path.relative_to(folder).as_posix(), sha256
