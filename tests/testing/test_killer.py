"""The harness finds what it looks for: an instrument that cannot fail proves nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from phenostream.stream import Inline, run
from phenostream.testing import killer
from phenostream.testing.killer import Nursery
from phenostream.testing.plates import Result, faults_of, light_recipe, result_of, torn, write_plate, write_run
from phenostream.testing.watch import ScratchWatch, WorkerWatch


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, Result]:
    run(light_recipe(write_plate(tmp_path / "images", 4)), tmp_path / "run", executor=Inline())
    return tmp_path / "run", result_of(tmp_path / "run")


def test_a_sound_folder_has_no_fault(finished: tuple[Path, Result]) -> None:
    assert faults_of(*finished, 4) == torn(finished[0]) == []


@pytest.mark.parametrize(
    ("statements", "word"),
    [
        (["UPDATE units SET state='waiting', part=NULL WHERE position=1"], "accounted"),
        (["UPDATE units SET position=-1 WHERE position=1"], "lost"),
        (["UPDATE units SET part=(SELECT part FROM units WHERE position=2) WHERE position=1"], "share"),
    ],
)
def test_what_is_lost_or_doubled_is_found(finished: tuple[Path, Result], statements: list[str], word: str) -> None:
    with closing(sqlite3.connect(finished[0] / "ledger.db", isolation_level=None)) as ledger:
        for statement in statements:
            ledger.execute(statement)
    assert any(word in fault for fault in faults_of(*finished, 4))


def test_what_is_torn_or_left_over_is_found(finished: tuple[Path, Result]) -> None:
    folder, reference = finished
    part = next((folder / "parts").rglob("*.parquet"))
    (folder / "spool" / "half").write_bytes(b"x")
    assert any("foreign spool/half" in fault for fault in faults_of(folder, reference, 4))
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    assert any("damaged" in fault for fault in torn(folder))


def test_other_numbers_are_found(finished: tuple[Path, Result], tmp_path: Path) -> None:
    recipe = light_recipe(tmp_path / "images") | {"measure": {"families": ["size_shape"]}}
    run(recipe, tmp_path / "other", executor=Inline())
    assert faults_of(tmp_path / "other", finished[1], 4)


def test_a_nursery_forks_runs_and_tells_how_they_ended(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 3))
    with Nursery() as nursery:
        assert nursery.run(recipe, tmp_path / "run")[0] == 0
        assert nursery.run(recipe | {"seed": 1}, tmp_path / "run")[0] == 2
        child = nursery.start(recipe, tmp_path / "other", traced=True)  # waits for a tracer that never comes
        os.kill(child, signal.SIGKILL)
        assert nursery.end() == -signal.SIGKILL
        nursery.start(recipe, tmp_path / "other", traced=True)
        with pytest.raises(TimeoutError):
            nursery.end(timeout=0.2)
    assert "another recipe" in killer.last_words(tmp_path / "run")


def test_a_run_folder_made_by_hand_is_sound(tmp_path: Path) -> None:
    assert torn(write_run(tmp_path / "run", 5, fits=1)) == []


def test_watchers_see_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "spool" / "unit").mkdir(parents=True)
    (tmp_path / "parts" / "aa").mkdir(parents=True)
    (tmp_path / "parts" / "aa" / "whole.parquet").write_bytes(random.Random(0).randbytes(50_000))
    watch = ScratchWatch(tmp_path)
    before = watch.look()
    (tmp_path / "spool" / "unit" / "chunk").write_bytes(bytes(10_000))
    (tmp_path / "parts" / "aa" / "half.parquet.part").write_bytes(bytes(4096))
    os.sync()
    assert watch.look() - before == 12_288 + 4096
    shutil.rmtree(tmp_path / "spool")
    with WorkerWatch() as seen:
        pass
    assert seen.peak >= 0
