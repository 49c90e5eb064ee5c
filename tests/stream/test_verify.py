"""Verify finds every planted fault and names it; repair computes exactly that anew, to the same bytes."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phenostream.cli.app import app
from phenostream.errors import BusyError, DamagedError, LedgerError, NotFoundError
from phenostream.stream import Inline, run
from phenostream.stream.folder import locked
from phenostream.stream.verify import repair, verify
from phenostream.testing.plates import faults_of, light_recipe, result_of, write_plate, write_run


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / "parts").rglob("*.parquet"))


def _flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _ledger(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as ledger:
        for statement in statements:
            ledger.execute(statement)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", 12, fits=2)


def test_a_sound_folder_has_no_fault_and_is_not_touched(filled: Path) -> None:
    before = {path: path.read_bytes() for path in filled.rglob("*") if path.suffix in {".parquet", ".npz"}}
    told = verify(filled)
    assert told.faults == ()
    assert (told.parts, told.fits, dict(told.units)) == (12, 2, {"done": 12})
    assert told.bytes == sum(map(len, before.values()))
    assert {path: path.read_bytes() for path in before} == before


def test_a_thousand_of_a_thousand_planted_faults_are_found_and_named(tmp_path: Path) -> None:
    folder, rng = write_run(tmp_path / "run", 1100, fits=10), random.Random(16)
    files = [*_parts(folder), *sorted((folder / "illumination").rglob("*.npz"))]
    spoilt = rng.sample(files, 1000)
    for path in spoilt:
        path.unlink() if rng.random() < 0.3 else _flip(path, rng)
    told = verify(folder)
    assert len(told.faults) == 1000
    assert {folder / one.path for one in told.faults} == set(spoilt)
    assert {one.kind for one in told.faults} == {"missing", "damaged"}
    assert all(
        one.plate and one.message and (one.channel or (one.well and one.site and one.frame)) for one in told.faults
    )


def test_a_fault_carries_plate_well_and_frame(filled: Path) -> None:
    with closing(sqlite3.connect(filled / "ledger.db")) as ledger:
        (path,) = ledger.execute("SELECT part FROM units WHERE position=7").fetchone()
    (filled / path).unlink()
    (fault,) = verify(filled).faults
    assert (fault.kind, fault.plate, fault.well, fault.site, fault.frame) == ("missing", "P0", "A8", "1", 3)


@pytest.mark.parametrize("name", ["parts/zz.parquet", "illumination/aa/x.npz", "spool/unit/000001", "run.json.part"])
def test_a_foreign_file_is_named(filled: Path, name: str) -> None:
    (filled / name).parent.mkdir(parents=True, exist_ok=True)
    (filled / name).write_bytes(b"x")
    (fault,) = verify(filled).faults
    assert (fault.kind, fault.path) == ("foreign", name)


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE units SET well='B2' WHERE position=3", "well"),
        ('UPDATE units SET annotation=\'{"gene":"x"}\' WHERE position=3', "annotation"),
        ("UPDATE units SET rows=4 WHERE position=3", "rows"),
        ("UPDATE parts SET rows=4 WHERE rowid=3", "rows"),
        ("UPDATE parts SET bytes=bytes+1 WHERE rowid=3", "bytes"),
        ("UPDATE parts SET sha256=replace(sha256, substr(sha256, 1, 4), 'beef') WHERE rowid=3", "sha256"),
        ("UPDATE units SET state='waiting' WHERE position=3", "without"),
        ("UPDATE units SET part=NULL WHERE position=3", "no unit"),
        ("DELETE FROM parts WHERE rowid=3", "without"),
        ("DELETE FROM units WHERE position=3", "12 inputs"),
        ("UPDATE units SET part=(SELECT part FROM units WHERE position=4) WHERE position=3", "share"),
        ("UPDATE parts SET path='../../secret' WHERE rowid=3", "outside"),
        ("UPDATE tally SET units=units+1", "tally"),
    ],
)
def test_a_ledger_that_contradicts_itself_or_its_parts_is_a_fault(filled: Path, statement: str, word: str) -> None:
    _ledger(filled, statement)
    faults = verify(filled).faults
    assert any(word in fault.message for fault in faults), faults


def test_a_ledger_that_sqlite_finds_damaged_is_named_and_not_repaired(filled: Path) -> None:
    verify(filled)  # the log goes into the file
    data = bytearray((filled / "ledger.db").read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = bytes(64)
    (filled / "ledger.db").write_bytes(data)
    told = verify(filled)
    assert {fault.kind for fault in told.faults} == {"broken-ledger"}
    with pytest.raises(LedgerError, match="damaged"):
        repair(told)
    (filled / "ledger.db").write_bytes(b"no database at all" * 300)
    assert [fault.kind for fault in verify(filled).faults] == ["broken-ledger"]


def test_what_is_no_run_folder_or_is_in_use_is_refused(filled: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        verify(tmp_path)
    with locked(filled), pytest.raises(BusyError):
        verify(filled)


def test_a_newer_ledger_is_refused_with_the_version_wanted(filled: Path) -> None:
    _ledger(
        filled,
        "UPDATE meta SET value='99' WHERE name='schema_version'",
        "UPDATE meta SET value='phenostream 9.0' WHERE name='made_by'",
    )
    with pytest.raises(LedgerError, match=r"schema 99.*phenostream 9\.0"):
        verify(filled)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    recipe = light_recipe(write_plate(tmp_path / "images", 5)) | {
        "correct": {"method": "basic", "frames": 2, "working_size": 16}
    }
    run(recipe, tmp_path / "run", executor=Inline())
    return tmp_path / "run"


def test_repair_recomputes_exactly_what_is_at_fault_to_the_same_bytes(finished: Path) -> None:
    reference = result_of(finished)
    kept = {path: path.stat().st_mtime_ns for path in _parts(finished)}
    gone, flipped = _parts(finished)[:2]
    gone.unlink()
    _flip(flipped, random.Random(0))
    (finished / "parts" / "stray").write_bytes(b"x")
    told = repair(verify(finished), executor=Inline())
    assert (len(told.recomputed), told.refitted, told.changed, told.after.faults) == (2, 0, (), ())
    assert faults_of(finished, reference, 5) == []
    assert {path for path, then in kept.items() if path.stat().st_mtime_ns != then} == {gone, flipped}


def test_a_bad_illumination_model_is_fitted_again_to_the_same_bytes(finished: Path) -> None:
    reference = result_of(finished)
    (model,) = (finished / "illumination").rglob("*.npz")
    before = model.read_bytes()
    _flip(model, random.Random(0))
    told = repair(verify(finished), executor=Inline())
    assert (len(told.recomputed), told.refitted, told.changed) == (1, 1, ())
    assert model.read_bytes() == before
    assert faults_of(finished, reference, 5) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE units SET well='B2' WHERE position=3",
        "UPDATE units SET state='waiting' WHERE position=3",
        "UPDATE units SET part=NULL WHERE position=3",
        "UPDATE parts SET rows=4 WHERE rowid=3",
        "DELETE FROM parts WHERE rowid=3",
        "UPDATE units SET part=(SELECT part FROM units WHERE position=4) WHERE position=3",
        "UPDATE parts SET path='../../secret' WHERE rowid=3",
        "UPDATE tally SET rows=rows-1",
    ],
)
def test_a_ledger_that_contradicts_itself_is_mended(finished: Path, statement: str) -> None:
    reference = result_of(finished)
    _ledger(finished, statement)
    assert repair(verify(finished), executor=Inline()).after.faults == ()
    assert faults_of(finished, reference, 5) == []


def test_a_repair_without_faults_does_nothing(finished: Path) -> None:
    told = repair(verify(finished))
    assert (told.recomputed, told.result) == ((), None)


def test_a_repair_whose_recipe_is_gone_asks_for_it(finished: Path, tmp_path: Path) -> None:
    recipe = json.loads((finished / "run.json").read_text())["recipe"]
    _parts(finished)[0].unlink()
    (finished / "run.json").write_text("{}")
    with pytest.raises(DamagedError, match="--recipe"):
        repair(verify(finished), executor=Inline())
    (finished / "run.json").unlink()
    with pytest.raises(NotFoundError, match="--recipe"):
        repair(verify(finished), executor=Inline())
    moved = tmp_path / "elsewhere"
    shutil.copytree(finished, moved)
    assert repair(verify(moved), recipe, executor=Inline()).after.faults == ()


def _told(*arguments: str) -> tuple[int, str]:
    told = CliRunner().invoke(app, ["verify", *arguments])
    return told.exit_code, told.stdout


def test_the_command_tells_faults_in_its_exit_code(finished: Path) -> None:
    assert _told(str(finished))[0] == 0
    gone = _parts(finished)[0]
    gone.unlink()
    code, text = _told(str(finished))
    assert code == 7
    assert "missing" in text
    code, text = _told(str(finished), "--json")
    assert code == 7
    (fault,) = json.loads(text)["faults"]
    assert (fault["kind"], fault["plate"], fault["frame"]) == ("missing", "P1", 1)


@pytest.mark.slow
def test_the_command_repairs(finished: Path, tmp_path: Path) -> None:
    reference = result_of(finished)
    _flip(_parts(finished)[2], random.Random(1))
    code, text = _told(str(finished), "--repair", "--json")
    assert code == 0
    told = json.loads(text)
    assert (len(told["faults"]), len(told["repair"]["recomputed"]), told["repair"]["after"]["sound"]) == (1, 1, True)
    assert faults_of(finished, reference, 5) == []
