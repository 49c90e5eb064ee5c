"""`measure: [classical, deep]`: one segmentation, classical features and embeddings in one row an object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import phenostream.profiles
from phenostream import features, formats, inference, objects
from phenostream.errors import NotFoundError, RecipeError
from phenostream.sources import open_store
from phenostream.stream import Inline, Processes, Recipe, estimate, run
from phenostream.synthetic import RangeServer, demo_archive
from phenostream.values import Plane, columns_of

Make = Callable[..., Any]


def _rows(told: Any) -> Any:
    return phenostream.profiles.read_profiles(told.folder)


def test_a_list_is_short_for_the_defaults(plate: Make, recipe: Make) -> None:
    load = Recipe.load
    both = load(recipe(plate(1), measure=["classical", "deep"])).measure
    assert both == load(recipe(plate(1), measure={"deep": {}})).measure
    assert both.families == features.MeasureSettings().families
    assert load(recipe(plate(1), measure=["deep"])).measure.families == ()
    assert load(recipe(plate(1), measure=["classical"])).measure == features.MeasureSettings()
    with pytest.raises(RecipeError, match="deeper"):
        load(recipe(plate(1), measure=["deeper"]))


def test_a_recipe_without_embeddings_keeps_its_identity(plate: Make, recipe: Make) -> None:
    assert "deep" not in Recipe.load(recipe(plate(1))).steps()["measure"]


def test_a_model_that_is_not_there_is_named_before_any_pixel_moves(plate: Make, recipe: Make) -> None:
    with pytest.raises(NotFoundError, match="nosuchmodel"):
        estimate(Recipe.load(recipe(plate(1), measure={"deep": {"model": "nosuchmodel"}})))


def test_rows_hold_what_the_functions_give_for_the_same_labels(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(2)
    asked = recipe(root, measure={"families": ["size_shape"], "deep": {}})
    told = run(asked, tmp_path / "run", executor=Inline())
    assert told.done == 2
    rows = _rows(told)
    rows = rows.filter([well == "A2" for well in rows.column("Metadata_Well").to_pylist()])
    image = formats.read(open_store(str(root)), Plane("P1/A2_s1_w1.png", "png"))
    labels = objects.segment(image, "classical")
    wanted = features.embed(image, labels, threads=1)
    names = [column.name for column in columns_of(rows.schema) if column.family == "embedding"]
    assert names == [f"cellnet_{i}" for i in range(wanted.shape[1])]
    found = np.column_stack([rows.column(name).to_numpy() for name in names])
    order = np.argsort(rows.column("ObjectNumber").to_numpy())
    assert np.array_equal(found[order], wanted)
    areas = np.bincount(labels.ravel())[1:]
    assert np.array_equal(rows.column("Nuclei_AreaShape_Area").to_numpy()[order], areas[areas > 0])
    roles = {column.name: column for column in columns_of(rows.schema)}
    assert roles["cellnet_0"].role == "feature"
    assert roles["cellnet_0"].channel == "DNA"


def test_a_part_names_the_package_that_embedded_it(plate: Make, recipe: Make, tmp_path: Path) -> None:
    told = run(recipe(plate(1), measure=["deep"]), tmp_path / "run", executor=Inline())
    (part,) = (told.folder / "parts").rglob("*.parquet")
    said = json.loads(pq.read_metadata(part).metadata[b"phenostream.embedding"])
    assert said["model"] == "cellnet"
    assert said["sha256"] == inference.find("cellnet").sha256
    assert said["crops"]["box_px"] == 64


def test_a_run_goes_on_where_it_was(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = recipe(plate(3), measure={"families": ["intensity"], "deep": {}})
    whole = run(asked, tmp_path / "whole", executor=Inline())
    stopped = run({**asked, "select": {"limit": 1}}, tmp_path / "stopped", executor=Inline())
    assert stopped.done == 1
    gone_on = run(asked, tmp_path / "stopped", executor=Inline())
    assert gone_on.done == 3
    assert _rows(gone_on).equals(_rows(whole))


@pytest.mark.slow
def test_batches_and_workers_change_no_byte(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = recipe(plate(4, channels=("1", "2")), measure={"families": ["intensity"], "deep": {}})
    reference = run(asked, tmp_path / "reference", executor=Inline())
    rows = _rows(reference)
    assert sum(column.family == "embedding" for column in columns_of(rows.schema)) == 2 * 194
    for batch_size, workers in ((1, 1), (4, 2)):
        asked["stream"] = {"disk_budget": 50_000_000, "batch_size": batch_size}
        told = run(asked, tmp_path / f"b{batch_size}", executor=Processes(workers))
        parts = [sorted(p.name for p in (one.folder / "parts").rglob("*.parquet")) for one in (told, reference)]
        assert parts[0] == parts[1]
        assert _rows(told).equals(rows)


@pytest.mark.slow
def test_the_demonstration_archive_streams_both_kinds(tmp_path: Path) -> None:
    archive = demo_archive(tmp_path / "archive", rows=1, columns=3, shape=(192, 192), nuclei=12)
    with RangeServer(archive.root) as server:
        asked = {
            "source": archive.source(server.url),
            "segment": {"model": "classical", "channel": "DNA"},
            "measure": ["classical", "deep"],
        }
        told = run(asked, tmp_path / "run", executor=Inline())
    assert (told.done, told.rejected, told.failed) == (3, 0, 0)
    rows = _rows(told)
    columns = [column for column in columns_of(rows.schema) if column.role == "feature"]
    assert {column.channel for column in columns if column.family == "embedding"} == {"DNA", "GFP"}
    assert any(column.family == "AreaShape" for column in columns)
    assert len(set(rows.column("CellId").to_pylist())) == rows.num_rows > 10
    for column in columns:
        if column.family == "embedding":
            assert np.isfinite(rows.column(column.name).to_numpy()).all()
