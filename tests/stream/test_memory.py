"""Memory: workers stay within the cap, however large the plate; what cannot fit is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from phenostream.errors import RecipeError
from phenostream.stream import Inline, Processes, failures, run
from phenostream.testing.plates import large_recipe, light_recipe, write_plate
from phenostream.testing.watch import WorkerWatch

CAP = 480 << 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_stays_within_the_cap(tmp_path: Path) -> None:
    recipe = large_recipe(tmp_path / "images", wells=12, side=768, memory=CAP)
    peaks: list[int] = []  # a process's peak is kept by the kernel: to look once a unit is enough
    with WorkerWatch() as seen:
        told = run(recipe, tmp_path / "run", executor=Processes(1), progress=lambda _: peaks.append(seen.look()))
    assert (told.done, told.rejected) == (12, 0)
    assert len(peaks) == 12
    assert 100 << 20 < max(seen.peak, *peaks) <= 1.1 * CAP


def test_a_field_that_cannot_fit_is_refused_with_its_size(tmp_path: Path) -> None:
    recipe = large_recipe(tmp_path / "images", wells=1, side=2048, channels=1, memory=CAP)
    told = run(recipe, tmp_path / "run", executor=Inline())
    assert told.rejected == 1
    (failure,) = failures(told.folder)
    assert failure.reason in {"over-budget", "empty"}
    log = (told.folder / "run.log").read_text()
    assert "(1, 2048, 2048) needs about" in log


def test_workers_for_whom_the_memory_does_not_last_are_refused(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 1), memory=10**9, workers=4)
    with pytest.raises(RecipeError, match=r"stream\.memory .* too little for 4 workers"):
        run(recipe, tmp_path / "run")
