"""Kills and faults at every step: nothing lost, nothing doubled, nothing torn, nothing left over."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from phenostream.stream import Inline, Processes, Progress, run
from phenostream.testing import faults
from phenostream.testing.faults import Injection, Injector
from phenostream.testing.killer import Nursery, kill_often
from phenostream.testing.plates import FITTED, faults_of, light_recipe, result_of, write_plate
from phenostream.testing.watch import children

needs_strace = pytest.mark.skipif(bool(faults.why_not()), reason=faults.why_not())


def test_kills_at_random_moments(tmp_path: Path) -> None:
    toll = kill_often(tmp_path, 6, seed=2, units=5)
    assert toll.faults == []
    assert toll.kills == 6


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments(tmp_path: Path) -> None:
    toll = kill_often(tmp_path, 100, seed=1)
    assert toll.faults == []
    assert toll.kills == 100
    assert toll.finished >= 34


@pytest.mark.slow
def test_workers_that_are_killed_cost_no_unit(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 24)) | FITTED
    run(recipe, tmp_path / "reference", executor=Inline())
    killed: list[int] = []

    def kill_some(told: Progress) -> None:
        workers = [child for child in children(os.getpid()) if "spawn_main" in _command(child)]
        if workers and told.done in (3, 11):
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    told = run(recipe, tmp_path / "run", executor=Processes(2), progress=kill_some)
    assert (told.done, told.failed, len(killed)) == (24, 0, 2)
    assert faults_of(tmp_path / "run", result_of(tmp_path / "reference"), 24) == []
    events = [json.loads(line)["event"] for line in (tmp_path / "run" / "run.jsonl").read_text().splitlines()]
    assert events.count("worker-died") == 2


def _command(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_bytes().decode() if path.exists() else ""


@pytest.mark.slow
@needs_strace
def test_faults_where_it_matters_most(tmp_path: Path) -> None:
    with Nursery() as nursery:
        damage = Injector(nursery, tmp_path, units=3).inject(
            [
                Injection("rename", 2, "KILL"),
                Injection("fdatasync", 8, "KILL"),
                Injection("fsync", 5, "EIO"),
                Injection("write", 4, "ENOSPC", onwards=True, threads=True),
                Injection("pwrite64", 30, "ENOSPC", onwards=True),
            ]
        )
    assert damage.faults == []
    assert damage.missed == 0
    assert damage.paused >= 2


@pytest.mark.slow
@needs_strace
@pytest.mark.timeout(2400)
def test_a_fault_at_every_call_of_a_run(tmp_path: Path) -> None:
    damage = faults.campaign(tmp_path, steps=FITTED)
    assert damage.faults == []
    assert damage.hits["KILL"] >= 60
    assert damage.hits["ENOSPC"] >= 20
    assert damage.hits["EIO"] >= 15
    assert damage.missed <= damage.hits.total() // 10
