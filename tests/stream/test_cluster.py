"""Many machines: a Dask cluster on the loopback interface, with workers in processes of their own."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from phenostream.errors import ClusterError, OverBudgetError
from phenostream.sources import LocalStore
from phenostream.stream import Inline, failures, run
from phenostream.stream.afar import MachineBudget

distributed = pytest.importorskip("distributed")
from phenostream.stream import cluster as room  # noqa: E402
from phenostream.stream.cluster import Dask  # noqa: E402

Make = Callable[..., Any]

pytestmark = [
    # Tornado and Dask leave sockets and loops to the garbage collector when a cluster is torn down.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:distributed", "ignore:.*:DeprecationWarning:tornado"),
    pytest.mark.filterwarnings("ignore:Port .* is already in use:UserWarning"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[distributed.LocalCluster]:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    scratch = tmp_path_factory.mktemp("workers")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, local_directory=str(scratch)
    ) as cluster:
        cluster.scratch = scratch
        yield cluster
    del cluster
    _collect()


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Also after tests that have clusters of their own."""
    yield
    _collect()


def _collect() -> None:
    """Take away what a cluster left to the garbage collector, which must not be told of the next test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def recipe(recipe: Make) -> Make:
    return lambda root, **steps: recipe(root, **({"output": {"thumbnail": 0}} | steps))


def _parts(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "parts").rglob("*.parquet"))


def _left(scratch: Path) -> list[Path]:
    """Files of fields that workers left behind, claims and locks aside."""
    return [path for path in scratch.rglob("phenostream-*/*/*") if path.is_file()]


@pytest.mark.parametrize("method", ["none", "basic"])
def test_the_same_bytes_as_on_one_machine(cluster: Any, plate: Make, recipe: Make, tmp_path: Path, method: str) -> None:
    asked = recipe(plate(5, plates=("P1", "P2")), correct={"method": method})
    here = run(asked, tmp_path / "here", executor=Inline())
    there = run(asked, tmp_path / "there", executor=Dask(cluster.scheduler_address))
    assert (there.done, there.rejected, there.failed) == (10, 0, 0)
    assert _parts(there.folder) == _parts(here.folder)
    assert 0 < there.peak_disk <= 50_000_000
    assert _left(cluster.scratch) == []


@pytest.mark.slow
def test_a_worker_that_dies_takes_nothing_with_it(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = recipe(plate(12), stream={"disk_budget": 50_000_000, "batch_size": 1})
    here = run(asked, tmp_path / "here", executor=Inline())
    killed: list[int] = []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None, local_directory=str(tmp_path / "workers")
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):

        def kill(progress: Any) -> None:
            if progress.done >= 3 and not killed:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        there = run(asked, tmp_path / "there", executor=Dask(cluster.scheduler_address), progress=kill)
    assert killed
    assert (there.done, there.rejected, there.failed) == (12, 0, 0)
    assert _parts(there.folder) == _parts(here.folder)


def test_the_budget_is_kept_on_each_machine(cluster: Any, plate: Make, recipe: Make, tmp_path: Path) -> None:
    root = plate(8)
    size = max(path.stat().st_size for path in root.rglob("*.png"))
    budget = 2 * (size + 3 * 4096)
    asked = recipe(root, stream={"disk_budget": budget, "batch_size": 1})
    there = run(asked, tmp_path / "there", executor=Dask(cluster.scheduler_address))
    assert (there.inputs, there.done + there.rejected) == (8, 8)
    assert there.peak_disk <= budget


def test_an_input_at_fault_is_told_as_if_it_had_been_here(
    cluster: Any, plate: Make, recipe: Make, tmp_path: Path
) -> None:
    root = plate(3)
    (root / "P1" / "A2_s1_w1.png").write_bytes(b"")
    asked = recipe(root)
    run(asked, tmp_path / "here", executor=Inline())
    there = run(asked, tmp_path / "there", executor=Dask(cluster.scheduler_address))
    assert (there.done, there.rejected) == (2, 1)
    assert failures(there.folder) == failures(tmp_path / "here")


def test_a_unit_larger_than_a_machines_budget_is_refused_with_its_size(
    cluster: Any, plate: Make, recipe: Make, tmp_path: Path
) -> None:
    root = plate(2)
    asked = recipe(root, stream={"disk_budget": 2000, "batch_size": 1})
    there = run(asked, tmp_path / "there", executor=Dask(cluster.scheduler_address))
    assert there.rejected == 2
    assert {one.reason for one in failures(there.folder)} == {"over-budget"}


def test_other_versions_on_a_worker_are_named(
    cluster: Any, plate: Make, recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = room.versions
    monkeypatch.setattr(room, "versions", lambda steps: here(steps) | {"numpy": "0.1"})
    with pytest.raises(ClusterError, match=r"numpy .* instead of 0\.1"):
        run(recipe(plate(2)), tmp_path / "run", executor=Dask(cluster.scheduler_address))
    assert run(recipe(plate(2)), tmp_path / "run", executor=Inline()).done == 2


def test_images_that_workers_do_not_see_are_no_fault_of_the_inputs(
    cluster: Any, plate: Make, recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_as_seen_from_afar", lambda *_, **__: LocalStore("/nowhere/to/be/seen"))
    with pytest.raises(ClusterError, match="/nowhere"):
        run(recipe(plate(2)), tmp_path / "run", executor=Dask(cluster.scheduler_address))


def test_no_scheduler_is_a_named_error() -> None:
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        Dask("tcp://127.0.0.1:9", timeout=1)


@pytest.mark.slow
def test_a_scheduler_that_goes_away_ends_the_run_and_nothing_is_lost(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = recipe(plate(40), stream={"disk_budget": 50_000_000, "batch_size": 1})
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address=None, local_directory=str(tmp_path / "workers")
    )
    gone: list[Thread] = []

    def leave(progress: Any) -> None:
        if progress.done >= 2 and not gone:
            gone.append(Thread(target=cluster.close))
            gone[0].start()
            gone[0].join()  # most units are still here: they meet a scheduler that has gone

    with pytest.raises(ClusterError, match="scheduler"):
        run(asked, tmp_path / "run", executor=Dask(cluster.scheduler_address), progress=leave)
    assert list((tmp_path / "run" / "spool").iterdir()) == []
    calls: list[int] = []
    told = run(asked, tmp_path / "run", executor=Inline(), progress=lambda one: calls.append(one.done))
    assert told.done == 40
    assert len(calls) < 40


def test_a_connected_client_stays_open(cluster: Any, plate: Make, recipe: Make, tmp_path: Path) -> None:
    with distributed.Client(cluster, set_as_default=False) as client:
        assert run(recipe(plate(1)), tmp_path / "run", executor=Dask(client)).done == 1
        assert client.status == "running"


# ---- the budget of one machine ---------------------------------------------------------------------------------------


def test_processes_of_one_machine_share_one_budget(tmp_path: Path) -> None:
    one, other = MachineBudget(100, tmp_path / "m"), MachineBudget(100, tmp_path / "m")
    lease = one.lease(70)
    assert lease
    assert other.lease(40) is None
    assert other.lease(30)
    lease.close()
    assert other.lease(70)
    assert other.peak == 100
    with pytest.raises(OverBudgetError, match="101"):
        one.lease(101)
    one.leave()
    other.leave()
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["lock"]


_CLAIM_AND_DIE = """
import os, signal, sys
from pathlib import Path
from phenostream.stream.afar import MachineBudget
budget = MachineBudget(100, Path(sys.argv[1]))
budget.lease(90)
(budget.spool / "left").write_bytes(b"x")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_dead_process_held_is_free_once_its_scratch_is_gone(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", _CLAIM_AND_DIE, str(tmp_path / "m")], check=False, timeout=300)
    assert died.returncode == -signal.SIGKILL
    assert list((tmp_path / "m").rglob("left"))
    budget = MachineBudget(100, tmp_path / "m")
    assert budget.lease(100)
    assert list((tmp_path / "m").rglob("left")) == []
    budget.leave()
