"""One disk budget for all runs of a place: never above, however many run, and whoever is killed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenostream.errors import BusyError, DiskFullError
from phenostream.stream import Inline, run
from phenostream.stream.budget import Lease
from phenostream.stream.claims import SharedBudget, place_for
from phenostream.stream.folder import locked
from phenostream.testing.killer import Nursery, last_words
from phenostream.testing.plates import faults_of, light_recipe, result_of, write_plate
from phenostream.testing.watch import ScratchWatch

BUDGET = 20 * 1024


class Together(ScratchWatch):
    """Scratch of several run folders at one moment, looked at each 50 ms or oftener."""

    interval = 0.01

    def __init__(self, *folders: Path) -> None:
        super().__init__(folders[0])
        self._watches = [ScratchWatch(folder) for folder in folders]

    def _scratch(self) -> Iterator[Path]:
        for watch in self._watches:
            yield from watch._scratch()


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Callable[..., SharedBudget]]:
    """Join budgets of one place; all are left at the end."""
    with ExitStack() as stack:

        def one(total: int = 100, name: str = "", place: Path = tmp_path / "place") -> SharedBudget:
            name = name or f"{len(list(place.glob('*.claim')))}"
            budget = SharedBudget(total, place, name=name, scratch=tmp_path / name)
            budget.join()
            stack.callback(budget.leave)
            return budget

        yield one


def test_what_one_holds_the_other_cannot_have(join: Callable[..., SharedBudget]) -> None:
    one, other = join(), join()
    lease = one.lease(70)
    assert lease
    assert other.lease(40) is None
    assert other.lease(30)
    lease.close()
    assert other.lease(70)
    assert (one.used, other.used, other.peak) == (0, 100, 100)


def test_who_leaves_holds_nothing(join: Callable[..., SharedBudget], tmp_path: Path) -> None:
    one, other = join(), join()
    assert one.lease(100)
    one.leave()
    assert other.lease(100)
    assert [path.name for path in (tmp_path / "place").glob("*.claim")] == ["1.claim"]


def test_a_larger_budget_neither_starves_a_smaller_one_nor_adds_to_it(join: Callable[..., SharedBudget]) -> None:
    large, small, twin = join(1000), join(100), join(100)
    assert large.lease(850)
    assert small.lease(90)
    assert twin.lease(20) is None
    assert twin.lease(10)
    assert large.lease(60) is None
    assert large.lease(50)


def test_who_waits_with_empty_hands_is_next(join: Callable[..., SharedBudget]) -> None:
    greedy, patient = join(), join()
    first, second = greedy.lease(50), greedy.lease(50)
    assert first
    assert second
    assert patient.lease(80) is None
    first.close()
    assert greedy.lease(50) is None
    second.close()
    assert greedy.lease(50) is None
    assert patient.lease(80)
    assert greedy.lease(20)


def test_two_that_wait_do_not_wait_for_each_other(join: Callable[..., SharedBudget]) -> None:
    holder, one, other = join(), join(), join()
    lease = holder.lease(100)
    assert lease
    assert one.lease(80) is None
    assert other.lease(80) is None
    lease.close()
    assert other.lease(80) is None
    assert one.lease(80)


def test_claims_that_somebody_tidied_away_are_made_again(join: Callable[..., SharedBudget], tmp_path: Path) -> None:
    one, other = join(), join()
    assert one.lease(40)
    for path in (tmp_path / "place").iterdir():
        path.unlink()
    assert one.lease(30)
    assert other.lease(40) is None
    assert other.lease(30)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 120)), max_size=40))
def test_never_above_whatever_is_asked_for(asked: list[tuple[int, bool, int]]) -> None:
    totals = (60, 60, 120)
    with tempfile.TemporaryDirectory() as place:
        budgets = [
            SharedBudget(total, Path(place), name=str(number), scratch=Path(place) / "none")
            for number, total in enumerate(totals)
        ]
        leases: list[list[Lease]] = [[] for _ in budgets]
        for budget in budgets:
            budget.join()
        for number, takes, size in asked:
            if takes and size <= totals[number] and (lease := budgets[number].lease(size)):
                leases[number].append(lease)
            elif not takes and leases[number]:
                leases[number].pop().close()
            used = [budget.used for budget in budgets]
            assert used[0] + used[1] <= 60
            assert sum(used) <= 120
        for number in range(len(budgets)):  # whoever asks is served, once the others let go
            for lease in leases[number]:
                lease.close()
        served = 0
        for _ in range(len(budgets)):
            for budget in budgets:
                if lease := budget.lease(60):
                    lease.close()
                    served += 1
        assert served >= len(budgets)
        for budget in budgets:
            budget.leave()


# ---- the dead --------------------------------------------------------------------------------------------------------


_CLAIM_AND_DIE = """
import os, signal, sys
from pathlib import Path
from phenostream.stream.claims import SharedBudget
from phenostream.stream.folder import locked
folder = Path(sys.argv[2])
with locked(folder):
    budget = SharedBudget(100, Path(sys.argv[1]), name="dead", scratch=folder / "spool", folder=folder)
    budget.join()
    budget.lease(90)
    (folder / "spool" / "left").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """A run folder whose process was killed with 90 of 100 bytes in hand."""
    folder = tmp_path / "dead"
    (folder / "spool").mkdir(parents=True)
    (folder / "ledger.db").touch()
    command = [sys.executable, "-c", _CLAIM_AND_DIE, str(tmp_path / "place"), str(folder)]
    assert subprocess.run(command, check=False, timeout=300).returncode == -signal.SIGKILL
    assert (folder / "spool" / "left").is_file()
    return folder


def test_a_killed_runs_bytes_are_free_once_its_scratch_is_gone(
    dead: Path, join: Callable[..., SharedBudget], tmp_path: Path
) -> None:
    assert join(name="alive").lease(100)
    assert list((dead / "spool").iterdir()) == []
    assert [path.name for path in (tmp_path / "place").glob("*.claim")] == ["alive.claim"]


def test_a_folder_where_work_goes_on_is_not_touched(dead: Path, join: Callable[..., SharedBudget]) -> None:
    alive = join(name="alive")
    with locked(dead):
        assert alive.lease(20) is None
        assert str(dead) in str(alive.others()[0])
        assert (dead / "spool" / "left").is_file()
    assert alive.lease(20)


def test_who_comes_back_waits_until_a_neighbour_has_cleared_up(dead: Path) -> None:
    with (dead / "lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        start = time.monotonic()
        threading.Timer(0.3, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with locked(dead):
            assert time.monotonic() - start > 0.1
            with pytest.raises(BusyError, match=str(os.getpid())), locked(dead):
                pass


def test_nothing_but_the_spool_of_a_run_folder_is_ever_deleted(
    dead: Path, join: Callable[..., SharedBudget], tmp_path: Path
) -> None:
    (dead / "ledger.db").unlink()
    precious = tmp_path / "precious" / "thesis.txt"
    precious.parent.mkdir()
    precious.touch()
    told = {"pid": 1, "folder": "", "scratch": str(precious.parent)}
    (tmp_path / "place" / "forged.claim").write_text(f"{0:020d} {9:020d} {0:020d} {0:020d}\n{json.dumps(told)}")
    (tmp_path / "place" / "torn.claim").write_bytes(b"0000")
    assert join(name="alive").lease(50)
    assert precious.is_file()
    assert (dead / "spool" / "left").is_file()


# ---- runs ------------------------------------------------------------------------------------------------------------


Both = Callable[[Callable[[Nursery, int, Nursery, int], None]], Together]


@pytest.fixture(scope="module")
def nurseries() -> Iterator[tuple[Nursery, Nursery]]:
    with Nursery() as first, Nursery() as second:
        yield first, second


@pytest.fixture
def both(tmp_path: Path, nurseries: tuple[Nursery, Nursery]) -> Both:
    """Two runs at once in processes of their own, with one budget; both are watched, and their results compared."""
    return lambda meanwhile: _run_both(tmp_path, *nurseries, meanwhile)


def _recipe(tmp_path: Path) -> dict[str, Any]:
    return light_recipe(tmp_path / "images", disk_budget=BUDGET, fetchers=4, batch_size=2)


def _run_both(
    tmp_path: Path,
    first: Nursery,
    second: Nursery,
    meanwhile: Callable[[Nursery, int, Nursery, int], None],
    wells: int = 24,
) -> Together:
    write_plate(tmp_path / "images", wells)
    recipe = _recipe(tmp_path)
    run(recipe, tmp_path / "reference", executor=Inline())
    folders = tmp_path / "one", tmp_path / "other"
    with Together(*folders) as seen:
        meanwhile(first, first.start(recipe, folders[0]), second, second.start(recipe, folders[1]))
        assert first.run(recipe, folders[0])[0] == 0, last_words(folders[0])
    for folder in folders:
        assert faults_of(folder, result_of(tmp_path / "reference"), wells) == []
    return seen


def test_two_runs_at_once_never_exceed_one_budget(both: Both) -> None:
    def let_finish(first: Nursery, _: int, second: Nursery, __: int) -> None:
        assert (first.end(), second.end()) == (0, 0)

    seen = both(let_finish)
    assert seen.looks > 0
    assert 0 < seen.peak <= BUDGET


def test_a_run_that_is_killed_leaves_its_share_to_the_other(
    both: Both, tmp_path: Path, join: Callable[..., SharedBudget]
) -> None:
    spool = tmp_path / "one" / "spool"

    def kill_one(first: Nursery, child: int, second: Nursery, _: int) -> None:
        while not _killed_at_work(first, child, spool):  # it was over before the signal came
            shutil.rmtree(tmp_path / "one")
            child = first.start(_recipe(tmp_path), tmp_path / "one")
        assert second.end() == 0
        # The other may have asked for room for the last time before the kill; whoever asks next clears up.
        lease = join(BUDGET, place=place_for(tmp_path)).lease(1)
        assert lease
        assert not any(spool.iterdir())
        lease.close()

    seen = both(kill_one)
    assert 0 < seen.peak <= BUDGET


def _killed_at_work(nursery: Nursery, child: int, spool: Path) -> bool:
    """Kill a run when something lies in its `spool`; false where it ended by itself."""
    deadline = time.monotonic() + 120
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline and not (spool.is_dir() and any(spool.iterdir())):
            os.kill(child, 0)
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    code = nursery.end()
    assert code in (0, -signal.SIGKILL), last_words(spool.parent)
    return code != 0


def test_a_run_that_must_wait_says_for_whom_and_goes_on(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 2), disk_budget=BUDGET)
    (tmp_path / "run" / "spool").mkdir(parents=True)
    place = place_for(tmp_path / "run" / "spool")
    holder = SharedBudget(BUDGET, place, name="holder", scratch=tmp_path, folder=tmp_path / "holder")
    holder.join()
    lease = holder.lease(BUDGET)
    assert lease
    told: list[Any] = []
    thread = threading.Thread(target=lambda: told.append(run(recipe, tmp_path / "run", executor=Inline())))
    thread.start()
    log, deadline = tmp_path / "run" / "run.log", time.monotonic() + 120
    while time.monotonic() < deadline and not (log.is_file() and "waits for room" in log.read_text()):
        time.sleep(0.02)
    assert f"process {os.getpid()} in {tmp_path / 'holder'} ({BUDGET:,} bytes)" in log.read_text()
    assert not told
    lease.close()
    thread.join(120)
    holder.leave()
    assert told[0].done == 2


def test_runs_that_name_another_place_have_budgets_of_their_own(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 2), disk_budget=BUDGET, budget_folder=str(tmp_path / "mine"))
    (tmp_path / "run" / "spool").mkdir(parents=True)
    holder = SharedBudget(BUDGET, place_for(tmp_path / "run" / "spool"), name="holder", scratch=tmp_path)
    holder.join()
    assert holder.lease(BUDGET)
    assert run(recipe, tmp_path / "run", executor=Inline()).done == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["lock"]
    holder.leave()


def test_a_place_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 2))
    (tmp_path / "file").touch()
    with pytest.raises(DiskFullError):
        run(recipe | {"stream": {"budget_folder": str(tmp_path / "file" / "x")}}, tmp_path / "named", executor=Inline())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert run(recipe, tmp_path / "run", executor=Inline()).done == 2
    assert "the disk budget is this run's alone" in (tmp_path / "run" / "run.log").read_text()


def test_the_default_place_is_one_for_a_file_system_and_a_user(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert place_for(tmp_path) == place_for(tmp_path / "a")
    assert place_for(tmp_path) != place_for("/proc")
    assert str(os.geteuid()) in str(place_for(tmp_path))
    assert place_for(tmp_path, "~/budget") == Path.home() / "budget"


def test_a_lock_says_who_has_it(tmp_path: Path, join: Callable[..., SharedBudget]) -> None:
    join(name="alive")
    with (tmp_path / "place" / "alive.claim").open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
