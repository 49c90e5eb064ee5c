"""`segment.cells`: nuclei, cells and cytoplasm of one object in one row, from the archive to exports and the report."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import phenostream
from phenostream import features, formats, objects
from phenostream.profiles import export
from phenostream.sources import open_store
from phenostream.stream import Inline, Recipe, run
from phenostream.values import Plane, columns_of

Make = Callable[..., Any]
NAMES = ("Nuclei", "Cells", "Cytoplasm")


def asked(recipe: Make, root: Path, **cells: Any) -> dict[str, Any]:
    found: dict[str, Any] = recipe(root, segment={"model": "classical", "channel": "DNA", "cells": cells})
    return found


@pytest.mark.parametrize("cells", [{"distance": 5}, {"method": "propagate", "channel": "GFP", "rim": True}])
def test_rows_hold_what_the_functions_give(plate: Make, recipe: Make, tmp_path: Path, cells: dict[str, Any]) -> None:
    root = plate(2, channels=("1", "2"))
    told = run(asked(recipe, root, **cells), tmp_path / "run", executor=Inline())
    assert (told.done, told.rejected, told.failed) == (2, 0, 0)
    rows = phenostream.read_profiles(told.folder)
    rows = rows.filter([well == "A2" for well in rows.column("Metadata_Well").to_pylist()])
    image = np.stack([formats.read(open_store(str(root)), Plane(f"P1/A2_s1_w{c}.png", "png")) for c in "12"])
    nuclei = objects.segment(image[0], "classical")
    settings = objects.CellSettings(**cells)
    around = objects.cells(nuclei, image[1 if settings.channel else 0], settings)
    labels = dict(zip(NAMES, (nuclei, around, objects.cytoplasm(around, nuclei, rim=settings.rim)), strict=True))
    wanted = features.measure(image, labels, ["DNA", "GFP"], ["size_shape", "intensity"])
    rows = rows.take(np.argsort(rows.column("ObjectNumber").to_numpy()))
    assert rows.column("ObjectNumber").to_pylist() == wanted.column("ObjectNumber").to_pylist()
    for name in wanted.column_names[1:]:
        assert np.array_equal(rows.column(name).to_numpy(), wanted.column(name).to_numpy().astype(np.float32)), name
    areas = {name: rows.column(f"{name}_AreaShape_Area").to_numpy() for name in NAMES}
    if not settings.rim:
        assert np.array_equal(areas["Cells"], areas["Nuclei"] + areas["Cytoplasm"])
    roles = {column.name: column for column in columns_of(rows.schema)}
    assert {column.compartment for column in roles.values() if column.role == "feature"} == set(NAMES)
    assert len(set(rows.column("CellId").to_pylist())) == rows.num_rows


def test_masks_of_nuclei_and_cells_are_given(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(2)
    nuclei, cells = np.zeros((128, 160), np.uint16), np.zeros((128, 160), np.uint16)
    nuclei[20:40, 20:40], nuclei[70:90, 100:120] = 4, 7
    cells[10:50, 10:50], cells[60:100, 90:130], cells[0:5, 0:5] = 1, 2, 3
    for name, labels in (("nuclei", nuclei), ("cells", cells)):
        for well in ("A1", "A2"):
            path = tmp_path / name / f"{well}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(labels).save(path)
    told = {
        name: {"model": "masks", "folder": str(tmp_path / name), "pattern": "{well}.png"}
        for name in ("nuclei", "cells")
    }
    segment = {**told["nuclei"], "cells": {"method": "given", "segmenter": told["cells"]}}
    done = run(recipe(root, segment=segment), tmp_path / "run", executor=Inline())
    assert (done.done, done.rejected, done.failed) == (2, 0, 0)
    rows = phenostream.read_profiles(done.folder)
    assert rows.column("ObjectNumber").to_pylist() == [4, 7, 4, 7]
    assert set(rows.column("Cells_AreaShape_Area").to_pylist()) == {1600}
    assert set(rows.column("Cytoplasm_AreaShape_Area").to_pylist()) == {1200}


def test_cells_change_no_nucleus(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(1)
    plain = phenostream.read_profiles(run(recipe(root), tmp_path / "plain", executor=Inline()).folder)
    both = phenostream.read_profiles(run(asked(recipe, root), tmp_path / "cells", executor=Inline()).folder)
    assert both.select(plain.column_names).equals(plain)


def test_a_recipe_without_cells_keeps_its_identity(plate: Make, recipe: Make) -> None:
    root = plate(1)
    assert "cells" not in Recipe.load(recipe(root)).steps()["segment"]
    assert Recipe.load(asked(recipe, root)).digest() != Recipe.load(recipe(root)).digest()
    assert Recipe.load(recipe(root), ["segment.cells.distance=4"]).steps()["segment"]["cells"]["distance"] == 4


def test_exports_and_the_report_take_them(plate: Make, recipe: Make, tmp_path: Path) -> None:
    told = run(
        recipe(plate(2), segment={"model": "classical", "cells": {}}, measure={}), tmp_path / "run", executor=Inline()
    )
    rows = phenostream.read_profiles(told.folder, view="features")
    assert sum(name.startswith("Cytoplasm_") for name in rows.column_names) >= 148
    assert sum(name.startswith("Nuclei_") for name in rows.column_names) >= 148
    export(told.folder, "idrstream", tmp_path / "idrstream")
    with gzip.open(next((tmp_path / "idrstream").glob("batch_*.csv.gz")), "rt") as lines:
        head = next(lines)
    assert "AreaShape_Area" in head
    assert "Cytoplasm" not in head
    export(told.folder, "csv", tmp_path / "cells.csv")
    assert (
        "Cells_Texture_Contrast_DNA_3_00_256" in (tmp_path / "cells.csv").read_text(encoding="utf-8").split("\n", 1)[0]
    )
    page = phenostream.run(
        recipe(plate(2), segment={"model": "classical", "cells": {}}, measure={}), tmp_path / "run", executor=Inline()
    )
    assert (page.folder / "report.html").stat().st_size > 50_000
