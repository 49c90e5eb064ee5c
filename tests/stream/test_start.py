"""Runs: accounting, resume, growth, refusals, bad inputs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import phenostream.profiles
from phenostream.errors import LedgerError, NotFoundError, RecipeError
from phenostream.stream import Inline, failures, run, status

Make = Callable[..., Any]


def _parts(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "parts").rglob("*.parquet"))


def test_every_field_becomes_one_part_and_every_cell_one_row(plate: Make, recipe: Make, tmp_path: Path) -> None:
    told = run(recipe(plate(4)), tmp_path / "run", executor=Inline())
    assert (told.inputs, told.done, told.rejected, told.failed) == (4, 4, 0, 0)
    assert len(_parts(told.folder)) == 4
    cells = phenostream.profiles.read_profiles(told.folder)
    assert cells.num_rows == told.rows == 24
    assert set(cells["Metadata_Well"].to_pylist()) == {"A1", "A2", "A3", "A4"}
    assert len(set(cells["CellId"].to_pylist())) == 24
    assert list((told.folder / "spool").iterdir()) == []
    assert json.loads((told.folder / "run.json").read_text())["recipe"]["seed"] == 0


def test_running_again_writes_nothing_new(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = recipe(plate(3))
    run(asked, tmp_path / "run", executor=Inline())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "parts").rglob("*")}
    told = run(asked, tmp_path / "run", executor=Inline())
    assert (told.done, told.waiting) == (3, 0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "parts").rglob("*")} == before


def test_a_larger_study_adds_only_the_new_units(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(2)
    first = run(recipe(root), tmp_path / "run", executor=Inline())
    kept = _parts(first.folder)
    plate(3)
    calls: list[int] = []
    told = run(recipe(root), tmp_path / "run", executor=Inline(), progress=lambda p: calls.append(p.done))
    assert told.done == 3
    assert len(calls) == 1
    assert set(kept) < set(_parts(told.folder))


def test_a_replaced_file_is_measured_again_and_its_old_part_goes(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(2)
    first = run(recipe(root), tmp_path / "run", executor=Inline())
    Image.fromarray(np.zeros((128, 160), np.uint8)).save(root / "P1" / "A1_s1_w1.png")
    told = run(recipe(root), tmp_path / "run", executor=Inline())
    assert (told.inputs, told.done) == (2, 2)
    assert told.rows < first.rows
    assert len(_parts(told.folder)) == 2


def test_a_replaced_file_of_a_sample_changes_its_whole_plate(plate: Make, recipe: Make, tmp_path: Path) -> None:
    """Its illumination is fitted anew: the parts are those that a fresh run writes."""
    root = plate(3, plates=("P1", "P2"))
    asked = recipe(root, correct={"method": "basic", "frames": 3, "working_size": 16})
    before = _parts(run(asked, tmp_path / "run", executor=Inline()).folder)
    frame = root / "P1" / "A1_s1_w1.png"
    Image.fromarray(255 - np.asarray(Image.open(frame)) // 2).save(frame)
    after = _parts(run(asked, tmp_path / "run", executor=Inline()).folder)
    assert after == _parts(run(asked, tmp_path / "fresh", executor=Inline()).folder)
    assert len(set(before) & set(after)) == 3, "the other plate's stand"


def test_other_steps_want_another_folder(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(2)
    run(recipe(root), tmp_path / "run", executor=Inline())
    with pytest.raises(LedgerError, match="another recipe"):
        run(recipe(root, measure={"families": ["intensity"]}), tmp_path / "run", executor=Inline())


def test_fewer_fields_want_another_folder(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(3)
    run(recipe(root), tmp_path / "run", executor=Inline())
    with pytest.raises(LedgerError, match="1 units"):
        run(recipe(root, select={"drop_wells": ["A2"]}), tmp_path / "run", executor=Inline())


def test_one_bad_input_costs_one_unit_and_is_told_with_place_and_remedy(
    plate: Make, recipe: Make, tmp_path: Path
) -> None:
    root = plate(5)
    good = (root / "P1" / "A2_s1_w1.png").read_bytes()
    (root / "P1" / "A2_s1_w1.png").write_bytes(good[: len(good) // 2])
    (root / "P1" / "A3_s1_w1.png").write_bytes(b"")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8) + np.array([1, 2, 3], np.uint8)).save(root / "P1" / "A4_s1_w1.png")
    told = run(recipe(root), tmp_path / "run", executor=Inline())
    assert (told.inputs, told.done, told.rejected, told.failed) == (5, 2, 3, 0)
    listed = failures(told.folder)
    assert [one.well for one in listed] == ["A2", "A3", "A4"]
    assert all(one.plate == "P1" and one.step and one.reason and one.message for one in listed)
    assert listed[0].reason == "damaged"
    ids = {json.loads(line).get("id") for line in (told.folder / "run.jsonl").read_text().splitlines()}
    assert {one.id for one in listed} <= ids
    assert all(one.id in (told.folder / "run.log").read_text() for one in listed)
    shown = status(told.folder)
    assert shown.inputs == shown.done + shown.rejected + shown.failed + shown.waiting
    assert sum(shown.reasons.values()) == 3


def test_a_unit_larger_than_the_budget_is_refused_with_its_size(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(2)
    size = (root / "P1" / "A1_s1_w1.png").stat().st_size
    asked = recipe(root, stream={"disk_budget": size // 2, "batch_size": 1})
    told = run(asked, tmp_path / "run", executor=Inline())
    assert told.rejected == 2
    assert {one.reason for one in failures(told.folder)} == {"over-budget"}
    assert all(any(part.isdigit() for part in one.message.replace(",", "").split()) for one in failures(told.folder))
    assert told.peak_disk <= size // 2


def test_a_missing_channel_is_named(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = recipe(plate(1), segment={"model": "classical", "channel": "RNA"})
    told = run(asked, tmp_path / "run", executor=Inline())
    assert told.rejected == 1
    assert failures(told.folder)[0].reason == "channel-missing"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"measures": {}}, "measures"),
        ({"segment": {"model": "nonsense"}}, "nonsense"),
        ({"correct": {"methodd": "none"}}, "methodd"),
        ({"stream": {"workers": -1}}, "workers"),
        ({"source": {"catalog": "nowhere"}}, "nowhere"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_key(
    plate: Make, recipe: Make, tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    with pytest.raises(RecipeError, match=word):
        run(recipe(plate(1), **change), tmp_path / "run", executor=Inline())


def test_nothing_selected_is_an_error(plate: Make, recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="selects no field"):
        run(recipe(plate(1), select={"plates": ["Q*"]}), tmp_path / "run", executor=Inline())


def test_sweeping_at_start_leaves_only_what_the_ledger_names(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = recipe(plate(2))
    told = run(asked, tmp_path / "run", executor=Inline())
    (told.folder / "spool" / "litter").write_bytes(b"x")
    stray = told.folder / "parts" / "zz"
    stray.mkdir()
    (stray / "stray.parquet").write_bytes(b"x")
    run(asked, tmp_path / "run", executor=Inline())
    assert not (stray / "stray.parquet").exists()
    assert list((told.folder / "spool").iterdir()) == []


def test_illumination_is_fitted_once_a_plate_and_channel(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = recipe(plate(5, plates=("P1", "P2"), channels=("1", "2")), correct={"method": "basic", "frames": 4})
    told = run(asked, tmp_path / "run", executor=Inline())
    assert told.done == 10
    assert len(list((told.folder / "illumination").rglob("*.npz"))) == 4
    with sqlite3.connect(told.folder / "ledger.db") as ledger:
        assert sorted(ledger.execute("SELECT plate, channel, frames FROM fits")) == [
            (plate_, channel, 4) for plate_ in ("P1", "P2") for channel in ("DNA", "GFP")
        ]
    ledger.close()


def test_the_sample_is_of_the_whole_plate_whatever_is_selected(plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(5)
    correct = {"method": "basic", "frames": 3}
    every = run(recipe(root, correct=correct), tmp_path / "all", executor=Inline())
    few = run(recipe(root, correct=correct, select={"wells": ["A4"]}), tmp_path / "few", executor=Inline())
    assert few.done == 1
    assert set(_parts(few.folder)) < set(_parts(every.folder))


def test_a_secret_in_a_url_stays_out_of_the_run_folder(recipe: Make) -> None:
    from phenostream.stream import Recipe
    from phenostream.stream.provenance import provenance

    asked = recipe(Path("unused"), source={"catalog": "folder", "base": "s3://key:hush@bucket/x?token=hush"})
    assert "hush" not in json.dumps(provenance(Recipe.load(asked)))
