"""Many units: packed as they are, planned once, asked for by index; nothing grows with the plan that need not."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenostream.errors import RecipeError
from phenostream.stream import Inline, estimate, failures, packed, plan, run, start, status, steps
from phenostream.stream.fetch import Bundle, Fetcher
from phenostream.stream.folder import strays
from phenostream.stream.ledger import Ledger
from phenostream.stream.recipe import Recipe
from phenostream.synthetic import Design, RangeServer, write_archive
from phenostream.values import Channel, Field, FieldId, Plane

Make = Callable[..., Any]

_TEXT = st.text(max_size=8)
_FIELDS = st.builds(
    Field,
    st.builds(FieldId, _TEXT, _TEXT, _TEXT, _TEXT, st.integers(0, 99), st.integers(0, 9)),
    st.lists(st.builds(Channel, _TEXT, _TEXT), max_size=3).map(tuple),
    st.lists(st.builds(Plane, _TEXT, _TEXT, _TEXT, st.integers(0, 3)), max_size=3).map(tuple),
    st.none() | st.floats(0.01, 10),
    st.dictionaries(_TEXT, _TEXT, max_size=3).map(MappingProxyType),
)


class Ready:
    """Gives a ready part for every unit."""

    workers = 2

    def submit(self, function: Any, *_: Any) -> Future[Any]:
        told: Future[Any] = Future()
        assert function is steps.process
        told.set_result(steps.Product(os.urandom(64), 3, {}, {}))
        return told

    def revive(self) -> None:
        pass

    def close(self, *, kill: bool = False) -> None:
        pass


@pytest.fixture
def study(tmp_path: Path) -> Make:
    """A recipe of so many frames whose plan the tables alone decide; no byte of theirs exists."""

    def make(units: int, **steps_: Any) -> dict[str, Any]:
        filesets, work_list = tmp_path / "idr0013.csv", tmp_path / "work.tsv"
        lines = [f"idr0013/P{number}.ome.zarr,S-BIAD1/{number}-uuid,{number}\n" for number in range(units // 96 + 1)]
        filesets.write_text("".join(lines))
        with work_list.open("w") as file:
            print("Plate", "Well", "Frames", sep="\t", file=file)
            for number in range(units):
                well = number % 96
                print(f"P{number // 96}", f"{chr(65 + well // 12)}{well % 12 + 1}", 50, sep="\t", file=file)
        source = {"catalog": "idr", "work_list": str(work_list), "filesets": [str(filesets)]}
        return {"source": source, "correct": {"method": "none"}} | steps_

    return make


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(fetcher: Any, name: str, field: Field, lease: Any) -> Bundle:
        return Bundle(fetcher._spool / name, lease, "0", 0.0)

    monkeypatch.setattr(Fetcher, "fetch", pretend)


@given(st.lists(_FIELDS, min_size=1, max_size=5))
def test_packing_keeps_every_field(fields: list[Field]) -> None:
    block = packed.pack(packed.line(one, ["1 a"]) for one in fields)
    assert [packed.field_of(text) for text in packed.unpack(block)] == fields


def test_a_planned_unit_is_a_hundred_bytes_and_not_twenty_objects(study: Make) -> None:
    recipe = Recipe.load(study(20_000))
    store = start.store_of(recipe)
    plan.make_plan(Recipe.load(study(100)), store)
    recipe = Recipe.load(study(20_000))
    tracemalloc.start()
    made = plan.make_plan(recipe, store)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(made.units) == 20_000
    assert held < 200 * 20_000
    assert peak < 1_000 * 20_000


def test_units_by_position_are_the_units_in_order(study: Make) -> None:
    recipe = Recipe.load(study(1100))
    units = plan.make_plan(recipe, start.store_of(recipe)).units
    every = list(units)
    assert [unit.position for unit in every] == list(range(1100))
    assert len({unit.key for unit in every}) == 1100
    assert [units[0], units[-1], units[511], units[512]] == [every[0], every[1099], every[511], every[512]]
    assert units[::300] == every[::300]
    assert list(units.at([3, 700, 701, 4])) == [every[3], every[700], every[701], every[4]]
    assert [list(found) for found in islice(units.by_plate([5, 100, 101]).values(), 2)] == [[5], [100, 101]]
    with pytest.raises(IndexError):
        units[1100]


def test_a_dumped_plan_is_the_plan(study: Make) -> None:
    recipe = Recipe.load(study(600, correct={"method": "basic", "frames": 8}))
    made = plan.make_plan(recipe, start.store_of(recipe))
    again = plan.Plan.load(dict(made.dump()))
    assert list(again.units) == list(made.units)
    assert dict(again.samples) == dict(made.samples)
    assert again.fits == made.fits
    assert all(len(sample) == 8 for sample in again.samples.values())


def test_the_same_field_twice_is_refused_with_its_name(study: Make) -> None:
    asked = study(100)
    with Path(asked["source"]["work_list"]).open("a") as file:
        print("P0", "A7", 50, sep="\t", file=file)
    recipe = Recipe.load(asked)
    with pytest.raises(RecipeError, match="twice: P0 A7"):
        plan.make_plan(recipe, start.store_of(recipe))


@pytest.mark.usefixtures("no_network")
def test_a_plan_is_made_once_and_made_anew_where_a_table_changes(
    study: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = plan.make_plan
    monkeypatch.setattr(start, "make_plan", lambda *asked: made.append(1) or make(*asked))
    run(study(100), tmp_path / "run", executor=Ready())
    told = run(study(100), tmp_path / "run", executor=Ready())
    assert (len(made), told.done) == (1, 100)
    told = run(study(130), tmp_path / "run", executor=Ready())
    assert (len(made), told.done) == (2, 130)


@pytest.mark.usefixtures("no_network")
def test_a_damaged_kept_plan_is_made_anew(study: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = plan.make_plan
    monkeypatch.setattr(start, "make_plan", lambda *asked: made.append(1) or make(*asked))
    run(study(100), tmp_path / "run", executor=Ready())
    with sqlite3.connect(tmp_path / "run" / "ledger.db") as ledger:
        ledger.execute("UPDATE plan SET content=x'00' WHERE name='keys'")
    ledger.close()
    assert run(study(100), tmp_path / "run", executor=Ready()).done == 100
    assert len(made) == 2


def test_a_plan_that_local_files_decide_is_made_each_time(plate: Make, recipe: Make, tmp_path: Path) -> None:
    told = run(recipe(plate(2)), tmp_path / "run", executor=Inline())
    ledger = Ledger(told.folder)
    assert ledger.query("SELECT count(*) FROM plan") == [(0,)]
    ledger.close()


def test_fields_without_a_place_are_rejected_with_the_reason(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive", [Design(name="LT0001_02", rows=1, columns=2, shape=(64, 64))])
    work_list = Path(archive.source()["work_list"])
    first = work_list.read_text().splitlines()[1]
    work_list.write_text(work_list.read_text() + first.replace("LT0001_02", "LT0009_09") + "\n")
    with RangeServer(archive.root) as server:
        asked = {"source": archive.source(server.url), "correct": {"method": "basic", "frames": 2}}
        told_before = estimate(asked, tmp_path / "run")
        told = run(asked | {"output": {"thumbnail": 0}}, tmp_path / "run", executor=Inline())
    assert (told_before.units, told_before.unresolved) == (3, 1)
    assert (told.inputs, told.rejected) == (3, 1)
    assert "LT0009_09 is not in the fileset tables" in failures(told.folder)[0].message


@pytest.mark.parametrize(
    "question",
    [
        "UPDATE units SET state='waiting' WHERE state IN ('rejected','failed') AND state IN (?)",
        "SELECT position FROM units INDEXED BY units_to_do WHERE state='waiting' ORDER BY position",
        "SELECT message FROM units INDEXED BY units_at_fault WHERE state IN ('rejected','failed') ORDER BY position",
        "SELECT finished FROM units WHERE finished IS NOT NULL ORDER BY finished DESC LIMIT 200",
        "SELECT path FROM parts WHERE path BETWEEN 'parts/aa/' AND 'parts/aa0'",
        "SELECT path FROM fits WHERE key='k'",
        "UPDATE units SET state='done' WHERE key='k'",
    ],
)
def test_no_question_of_a_run_reads_or_sorts_the_table(tmp_path: Path, question: str) -> None:
    ledger = Ledger(tmp_path, create=True)
    steps_ = [row[-1] for row in ledger.query(f"EXPLAIN QUERY PLAN {question}", ("failed",) * question.count("?"))]
    ledger.close()
    assert all("INDEX" in step for step in steps_), steps_


def test_strays_are_found_among_many(tmp_path: Path) -> None:
    kept = []
    for shelf in ("aa", "bb"):
        (tmp_path / "parts" / shelf).mkdir(parents=True)
        for number in range(50):
            kept.append(f"parts/{shelf}/{number}.parquet")
            (tmp_path / kept[-1]).write_bytes(b"")
    for stray in ("parts/aa/x.parquet", "parts/y", "run.json.part"):
        (tmp_path / stray).write_bytes(b"")
    asked: list[str] = []

    def named(folder: str) -> set[str]:
        asked.append(folder)
        return {one for one in kept if one.startswith(folder)}

    found = strays(tmp_path, named)
    assert [one.relative_to(tmp_path).as_posix() for one in found] == ["parts/y", "parts/aa/x.parquet", "run.json.part"]
    assert asked == ["parts/", "parts/aa/", "parts/bb/"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
def test_many_units_are_run_and_told(study: Make, tmp_path: Path) -> None:
    told = run(study(20_000), tmp_path / "run", executor=Ready())
    assert (told.inputs, told.done, told.rows) == (20_000, 20_000, 60_000)
    shown = status(tmp_path / "run")
    assert (shown.inputs, shown.done, shown.rows, shown.waiting) == (20_000, 20_000, 60_000, 0)
