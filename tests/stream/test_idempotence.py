"""Again, more, elsewhere: what is done is never done twice, and nothing but pixels and recipe decides a byte."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from phenostream.errors import LedgerError
from phenostream.stream import Inline, RunResult, run
from phenostream.testing.plates import FITTED, faults_of, light_recipe, result_of, write_plate


def _files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Everything in the folder but the ledger and the logs: content and time of last change."""
    kept = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".log", ".jsonl"})
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in kept
        if not path.name.startswith("ledger.db") and path.name != "lock"
    }


def _units(folder: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        return ledger.execute("SELECT key, position, state, part, finished FROM units ORDER BY key").fetchall()


def _models(told: RunResult) -> set[str]:
    return {path.name for path in (told.folder / "illumination").rglob("*.npz")}


def test_the_second_run_writes_no_byte(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 5)) | FITTED
    run(recipe, tmp_path / "run", executor=Inline())
    files, units = _files(tmp_path / "run"), _units(tmp_path / "run")
    called: list[Any] = []
    told = run(recipe, tmp_path / "run", executor=Inline(), progress=called.append)
    assert (told.done, called) == (5, [])
    assert _files(tmp_path / "run") == files
    assert _units(tmp_path / "run") == units


def test_a_larger_study_adds_only_the_new_units(tmp_path: Path) -> None:
    images = write_plate(tmp_path / "images", 3)
    run(light_recipe(images), tmp_path / "run", executor=Inline())
    before, units = _files(tmp_path / "run"), _units(tmp_path / "run")
    write_plate(tmp_path / "more", 6)
    for path in sorted((tmp_path / "more" / "P1").iterdir()):
        if not (images / "P1" / path.name).exists():
            shutil.copy(path, images / "P1" / path.name)
    write_plate(images, 2, name="P2")
    called: list[Any] = []
    told = run(light_recipe(images), tmp_path / "run", executor=Inline(), progress=called.append)
    assert (told.done, len(called)) == (8, 5)
    after = _files(tmp_path / "run")
    assert {name: after[name] for name in before if name.startswith("parts")} == {
        name: held for name, held in before.items() if name.startswith("parts")
    }
    assert {(unit[0], *unit[2:]) for unit in units} <= {(unit[0], *unit[2:]) for unit in _units(tmp_path / "run")}
    whole = run(light_recipe(images), tmp_path / "whole", executor=Inline())
    assert faults_of(tmp_path / "run", result_of(whole.folder), 8) == []


def test_a_model_does_not_depend_on_which_units_are_wanted(tmp_path: Path) -> None:
    images = write_plate(tmp_path / "images", 9)
    steps = {"correct": {"method": "basic", "frames": 7, "working_size": 16}}
    every = run(light_recipe(images) | steps, tmp_path / "every", executor=Inline())
    for well in ("A2", "A7"):
        select = {"select": {"wells": [well]}}
        few = run(light_recipe(images) | steps | select, tmp_path / f"few-{well}", executor=Inline())
        assert _models(few) == _models(every)
        assert set(result_of(few.folder).parts) < set(result_of(every.folder).parts)


@pytest.mark.parametrize(
    "stream",
    [
        {"batch_size": 1, "fetchers": 1},
        {"batch_size": 64, "fetchers": 16},
        {"disk_budget": 40_000, "memory": 2_000_000_000},
    ],
)
def test_no_setting_of_the_machine_changes_a_byte(tmp_path: Path, stream: dict[str, Any]) -> None:
    images = write_plate(tmp_path / "images", 6)
    run(light_recipe(images) | FITTED, tmp_path / "reference", executor=Inline())
    run(light_recipe(images, **stream) | FITTED, tmp_path / "run", executor=Inline())
    assert faults_of(tmp_path / "run", result_of(tmp_path / "reference"), 6) == []
    assert _models_of(tmp_path / "run") == _models_of(tmp_path / "reference")


def _models_of(folder: Path) -> set[str]:
    return {path.name for path in (folder / "illumination").rglob("*.npz")}


def test_machine_settings_may_change_between_starts(tmp_path: Path) -> None:
    images = write_plate(tmp_path / "images", 4)
    run(light_recipe(images, batch_size=1), tmp_path / "run", executor=Inline())
    assert run(light_recipe(images, batch_size=9, fetchers=7), tmp_path / "run", executor=Inline()).done == 4
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["stream"]["batch_size"] == 9


def test_a_moved_folder_goes_on(tmp_path: Path) -> None:
    images = write_plate(tmp_path / "images", 4)
    run(light_recipe(images) | {"select": {"limit": 2}}, tmp_path / "run", executor=Inline())
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert run(light_recipe(images), tmp_path / "elsewhere", executor=Inline()).done == 4
    run(light_recipe(images), tmp_path / "reference", executor=Inline())
    assert faults_of(tmp_path / "elsewhere", result_of(tmp_path / "reference"), 4) == []


def test_a_folder_of_another_recipe_is_refused_and_kept(tmp_path: Path) -> None:
    images = write_plate(tmp_path / "images", 3)
    run(light_recipe(images), tmp_path / "run", executor=Inline())
    files, units = _files(tmp_path / "run"), _units(tmp_path / "run")
    with pytest.raises(LedgerError, match="another recipe"):
        run(light_recipe(images) | {"measure": {"families": ["size_shape"]}}, tmp_path / "run", executor=Inline())
    assert (_files(tmp_path / "run"), _units(tmp_path / "run")) == (files, units)
