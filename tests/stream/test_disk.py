"""Disk: never more than the budget, whatever fails; a full, read-only or shared one ends in a named error."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from phenostream.errors import BusyError, DiskFullError, LedgerError
from phenostream.stream import Inline, conductor, run, status
from phenostream.stream.claims import SharedBudget
from phenostream.stream.folder import locked
from phenostream.testing.plates import faults_of, light_recipe, result_of, write_plate
from phenostream.testing.watch import ScratchWatch

BUDGET = 64 * 1024


@contextmanager
def tmpfs(place: Path, size: int) -> Iterator[Callable[[str], None]]:
    """A file system of so many bytes at `place`; gives a function that mounts it anew with other options."""
    if os.geteuid():
        pytest.skip("mounting a tmpfs needs root")
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if made.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {made.stderr.strip()}")

    def again(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True, timeout=120)

    try:
        yield again
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=120)


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small first leases: many units share a small budget, and most of them outgrow their lease."""
    monkeypatch.setattr(conductor, "_FIRST_LEASE", 4096)


def _spoil(images: Path, every: int) -> int:
    """Cut every so-many-th image short; how many."""
    spoilt = sorted((images / "P1").iterdir())[::every]
    for path in spoilt:
        path.write_bytes(path.read_bytes()[:200])
    return len(spoilt)


def _looks_at_each_grant(seen: ScratchWatch, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is seen whenever bytes have been granted, or are about to be given back; however seldom a thread looks."""
    grant, give, looks = SharedBudget._take, SharedBudget._give, []

    def granted(budget: SharedBudget, size: int) -> bool:
        if had := grant(budget, size):
            looks.append(seen.look())
        return had

    def given(budget: SharedBudget, size: int) -> None:
        looks.append(seen.look())
        give(budget, size)

    monkeypatch.setattr(SharedBudget, "_take", granted)
    monkeypatch.setattr(SharedBudget, "_give", given)
    return looks


@pytest.mark.usefixtures("crowded")
def test_scratch_never_exceeds_the_budget_while_units_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_plate(tmp_path / "images", 40)
    bad = _spoil(images, 4)
    recipe = light_recipe(images, disk_budget=BUDGET, fetchers=8)
    with ScratchWatch(tmp_path / "run") as seen:
        looks = _looks_at_each_grant(seen, monkeypatch)
        told = run(recipe, tmp_path / "run", executor=Inline())
    assert (told.done, told.rejected) == (40 - bad, bad)
    assert len(looks) > 80
    assert max(looks) > 0
    assert max(seen.peak, *looks) <= told.peak_disk <= BUDGET
    assert list((tmp_path / "run" / "spool").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("crowded")
def test_two_hundred_units_on_a_spool_of_exactly_the_budget(tmp_path: Path) -> None:
    images = write_plate(tmp_path / "images", 200)
    bad = _spoil(images, 20)
    with tmpfs(tmp_path / "run" / "spool", BUDGET):
        told = run(light_recipe(images, disk_budget=BUDGET, fetchers=8), tmp_path / "run", executor=Inline())
        assert (told.done, told.rejected, told.failed) == (200 - bad, bad, 0)
        assert list((tmp_path / "run" / "spool").iterdir()) == []


def test_a_full_disk_pauses_the_run_and_room_lets_it_go_on(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 24), batch_size=2)
    run(recipe, tmp_path / "reference", executor=Inline())
    folder = tmp_path / "disk" / "run"
    with tmpfs(tmp_path / "disk", 300 * 1024) as again:
        for _ in range(2):
            with pytest.raises(DiskFullError, match=r"No space left|full"):
                run(recipe, folder, executor=Inline())
        shown = status(folder)
        assert shown.inputs == shown.done + shown.waiting == 24
        assert shown.waiting > 0
        again("size=50m")
        assert run(recipe, folder, executor=Inline()).done == 24
        assert faults_of(folder, result_of(tmp_path / "reference"), 24) == []


def test_a_disk_that_becomes_read_only_is_named_and_loses_nothing(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 3))
    with tmpfs(tmp_path / "disk", 50 << 20) as again:
        run(recipe, tmp_path / "disk" / "run", executor=Inline())
        again("ro")
        with pytest.raises(DiskFullError):
            run(recipe, tmp_path / "disk" / "run", executor=Inline())
        with pytest.raises(DiskFullError):
            run(recipe, tmp_path / "disk" / "new", executor=Inline())
        again("rw")
        assert run(recipe, tmp_path / "disk" / "run", executor=Inline()).done == 3


def test_the_exit_code_of_a_full_disk_is_five(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(json.dumps(light_recipe(write_plate(tmp_path / "images", 2))))
    (tmp_path / "file").write_text("in the way")
    command = [sys.executable, "-m", "phenostream", "run", str(tmp_path / "study.yaml"), "--out"]
    told = subprocess.run(
        [*command, str(tmp_path / "file" / "run")], capture_output=True, text=True, check=False, timeout=300
    )
    assert told.returncode == 5, told.stderr
    assert "error: cannot write" in told.stderr


def test_a_second_run_in_the_folder_is_refused_with_the_pid(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 2))
    run(recipe, tmp_path / "run", executor=Inline())
    with locked(tmp_path / "run"), pytest.raises(BusyError, match=str(os.getpid())):
        run(recipe, tmp_path / "run", executor=Inline())


def test_a_newer_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 2))
    run(recipe, tmp_path / "run", executor=Inline())
    with sqlite3.connect(tmp_path / "run" / "ledger.db") as ledger:
        ledger.execute("UPDATE meta SET value='7' WHERE name='schema_version'")
        ledger.execute("UPDATE meta SET value='phenostream 3.1' WHERE name='made_by'")
    ledger.close()
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")}
    for ask in (lambda: run(recipe, tmp_path / "run", executor=Inline()), lambda: status(tmp_path / "run")):
        with pytest.raises(LedgerError, match=r"schema 7.*phenostream 3\.1"):
            ask()
    assert {path: path.stat().st_mtime_ns for path in parts} == parts


@pytest.mark.parametrize("change", [{"seed": 3}, {"select": {"wells": ["A1"]}}])
def test_a_refused_recipe_changes_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 4))
    run(recipe, tmp_path / "run", executor=Inline())
    before, told = result_of(tmp_path / "run"), (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(LedgerError, match="choose another --out"):
        run(recipe | change, tmp_path / "run", executor=Inline())
    assert (tmp_path / "run" / "run.json").read_bytes() == told
    assert faults_of(tmp_path / "run", before, 4) == []


def test_a_clock_that_goes_backwards_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 6), batch_size=1)
    run(recipe, tmp_path / "reference", executor=Inline())
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * next(calls))
    told = run(recipe, tmp_path / "run", executor=Inline())
    assert told.done == 6
    assert told.seconds >= 0
    shown = status(tmp_path / "run")
    assert shown.rate >= 0
    assert shown.done == 6
    monkeypatch.undo()
    assert faults_of(tmp_path / "run", result_of(tmp_path / "reference"), 6) == []
    run(recipe, tmp_path / "run", executor=Inline())
