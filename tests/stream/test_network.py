"""A network that fails in every known way: the run ends, every part is a clean run's, nothing is asked for in vain."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from phenostream.stream import Inline, RunResult, failures, run, status
from phenostream.synthetic import Archive, Design, RangeServer, write_archive
from phenostream.synthetic.serve import Answer
from phenostream.testing.plates import result_of
from phenostream.testing.servers import Fault, Faults, FaultyServer

WEATHER = {
    Fault("reset"): 0.05,
    Fault("stall", seconds=5): 0.05,
    Fault("flip"): 0.02,
    Fault("busy", seconds=1): 0.03,
    Fault("broken"): 0.02,
    Fault("wrong-length"): 0.02,
    Fault("etag"): 0.02,
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    design = Design(rows=4, columns=6, shape=(160, 160), channels=("DNA",), nuclei=8)
    return write_archive(tmp_path_factory.mktemp("archive") / "clean", [design], levels=1)


def _recipe(archive: Archive, url: str, **transport: Any) -> dict[str, Any]:
    patience = {"timeout": 60, "connect_timeout": 60, "backoff": 0.02, "longest_wait": 0.1, "tries": 6}
    return {
        "source": archive.source(url),
        "correct": {"method": "none"},
        "measure": {"families": ["intensity"]},
        "output": {"thumbnail": 0, "outlines": False},
        "stream": {"disk_budget": 20_000_000, "fetchers": 4},
        "transport": patience | transport,
    }


def _meta(told: RunResult, name: str) -> int:
    with closing(sqlite3.connect(told.folder / "ledger.db")) as ledger:
        row = ledger.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
    return int(row[0]) if row else 0


@pytest.fixture(scope="module")
def clean(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    with RangeServer(archive.root) as server:
        told = run(_recipe(archive, server.url), tmp_path_factory.mktemp("run") / "clean", executor=Inline())
    assert (told.done, told.rejected, told.failed) == (24, 0, 0)
    return told


@pytest.mark.parametrize("seed", [1, 2])
def test_bad_weather_changes_no_byte_and_costs_few(
    archive: Archive, clean: RunResult, tmp_path: Path, seed: int
) -> None:
    faults = Faults(rates=WEATHER, rng=random.Random(seed))
    with FaultyServer(archive.root, faults) as server:
        told = run(_recipe(archive, server.url, timeout=2), tmp_path / "run", executor=Inline())
    assert (told.done, told.rejected, told.failed) == (24, 0, 0)
    assert result_of(told.folder) == result_of(clean.folder)
    assert _meta(told, "bytes_moved") <= 1.3 * _meta(clean, "bytes_moved")
    assert len({fault.kind for fault in faults.met}) >= 4, faults.met


class _Unhashed(FaultyServer):
    """A server as most are: its ETags say nothing of the content. Faults meet `chunks` only where it is told so."""

    chunks_only = True

    def answer(self, method: str, key: str, headers: Mapping[str, str]) -> Answer:
        is_chunk = key.rpartition("/")[2].isdigit()
        asked = {name: value for name, value in headers.items() if not name.startswith("If-")}
        serve = super() if is_chunk or not self.chunks_only else super(FaultyServer, self)
        answer = serve.answer(method, key, asked)
        return Answer(answer.status, answer.headers | {"ETag": '"as-it-was"'}, answer.body)


class _FlippedOnce(_Unhashed):
    """The first answer for each of some keys has one wrong bit."""

    def __init__(self, folder: Path, keys: set[str]) -> None:
        super().__init__(folder)
        self.keys = set(keys)
        self.turn = threading.Lock()

    def answer(self, method: str, key: str, headers: Mapping[str, str]) -> Answer:
        with self.turn:
            self.faults = Faults([Fault("flip")] if method == "GET" and key in self.keys else [])
            self.keys.discard(key)
            return super().answer(method, key, headers)


def test_wrong_bytes_in_a_chunk_are_asked_for_once_more(archive: Archive, clean: RunResult, tmp_path: Path) -> None:
    chunks = (path.relative_to(archive.root).as_posix() for path in archive.root.rglob("*") if path.name.isdigit())
    first, *_, last = sorted(key for key in chunks if (archive.root / key).is_file())
    with _FlippedOnce(archive.root, {first, last}) as server:
        told = run(_recipe(archive, server.url), tmp_path / "run", executor=Inline())
    assert server.keys == set()
    assert (told.done, told.rejected) == (24, 0)
    assert result_of(told.folder) == result_of(clean.folder)
    assert _meta(told, "refetched") == 2
    events = [json.loads(line)["event"] for line in (told.folder / "run.jsonl").read_text().splitlines()]
    assert events.count("refetched") == 2


class _OtherMirror(FaultyServer):
    """Answers the third reading of each file with the ETag of another mirror, once."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, Faults())
        self.read: Counter[str] = Counter()
        self.turn = threading.Lock()

    def answer(self, method: str, key: str, headers: Mapping[str, str]) -> Answer:
        with self.turn:
            self.read[key] += method == "GET" and key.endswith(".ch5")
            self.faults = Faults([Fault("etag")] if self.read[key] == 3 else [])
            return super().answer(method, key, headers)


def test_one_odd_version_of_a_movie_costs_no_frame(tmp_path: Path) -> None:
    design = Design(rows=1, columns=2, frames=3, shape=(160, 160), channels=("DNA",), nuclei=8)
    archive = write_archive(tmp_path / "archive", [design], layout="cellh5")
    with RangeServer(archive.root) as server:
        clean = run(_recipe(archive, server.url), tmp_path / "clean", executor=Inline())
    with _OtherMirror(archive.root) as server:
        told = run(_recipe(archive, server.url), tmp_path / "run", executor=Inline())
        assert min(server.read.values()) > 3
    assert (clean.done, told.done, told.failed) == (6, 6, 0)
    assert _meta(told, "refetched") >= 2
    assert result_of(told.folder) == result_of(clean.folder)


def test_what_is_damaged_in_the_archive_is_asked_for_twice_and_rejected(archive: Archive, tmp_path: Path) -> None:
    always = Faults(rates={Fault("flip"): 1.0})
    with _Unhashed(archive.root, always) as server:
        told = run(_recipe(archive, server.url) | {"select": {"limit": 3}}, tmp_path / "run", executor=Inline())
        visits = Counter(visit.key for visit in server.visits if visit.key.rpartition("/")[2].isdigit())
    assert (told.done, told.rejected) == (0, 3)
    assert {one.reason for one in failures(told.folder)} == {"damaged"}
    assert set(visits.values()) == {2}


def test_terminal_errors_are_not_tried_again(tmp_path: Path) -> None:
    design = Design(
        rows=2, columns=3, shape=(160, 160), channels=("DNA",), nuclei=8, troubles={"A2": "missing", "B1": "damaged"}
    )
    archive = write_archive(tmp_path / "archive", [design], levels=1)
    with RangeServer(archive.root) as server:
        told = run(_recipe(archive, server.url), tmp_path / "run", executor=Inline())
        absent = Counter(visit.key for visit in server.visits if visit.status == 404)
    assert (told.done, told.rejected, told.failed) == (4, 2, 0)
    assert {one.reason for one in failures(told.folder)} == {"missing", "damaged"}
    assert set(absent.values()) == {1}


def test_an_archive_that_is_away_fails_units_and_the_next_run_does_them(
    archive: Archive, clean: RunResult, tmp_path: Path
) -> None:
    class Leaving(RangeServer):
        def answer(self, method: str, key: str, headers: Mapping[str, str]) -> Answer:
            if len(self.visits) > 40:
                return Answer(503, {"Content-Length": "0"})
            return super().answer(method, key, headers)

    with Leaving(archive.root) as server:
        told = run(_recipe(archive, server.url, tries=2), tmp_path / "run", executor=Inline())
    assert told.done + told.failed == 24
    assert told.failed > 0
    assert {one.reason for one in failures(told.folder)} == {"throttled"}
    with RangeServer(archive.root / "nothing") as server:
        away = run(_recipe(archive, server.url), tmp_path / "away", executor=Inline())
    assert (away.done, status(away.folder).rate) == (0, 0)
    with RangeServer(archive.root) as server:
        again = run(_recipe(archive, server.url), tmp_path / "run", executor=Inline())
    assert (again.done, again.failed) == (24, 0)
    assert result_of(told.folder) == result_of(clean.folder)
