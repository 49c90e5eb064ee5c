"""Memory: workers stay within the cap, however large the plate; what cannot fit is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from phenostream.errors import RecipeError
from phenostream.stream import Inline, Processes, failures, run
from phenostream.testing.plates import light_recipe, write_plate
from phenostream.testing.watch import WorkerWatch

CHANNELS = ("DNA", *(f"C{number}" for number in range(2, 9)))


def _large(root: Path, wells: int, side: int, channels: int = len(CHANNELS)) -> dict[str, Any]:
    """A recipe for fields of many channels, sixty nuclei each; all wells share two sets of files on the disk."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[-12:13, -12:13]
    (root / "P1").mkdir(parents=True)
    for well in range(1, wells + 1):
        for channel in range(1, channels + 1):
            path = root / "P1" / f"A{well}_s1_w{channel}.tif"
            if well > 2:
                path.hardlink_to(root / "P1" / f"A{1 + well % 2}_s1_w{channel}.tif")
                continue
            pixels = rng.normal(200, 10, (side, side))
            for y, x in rng.integers(14, side - 14, (60, 2)):
                pixels[y - 12 : y + 13, x - 12 : x + 13][rows**2 + columns**2 < 140] += 800
            tifffile.imwrite(path, pixels.astype(np.uint16))
    recipe = light_recipe(root, memory=480 << 20, disk_budget=200_000_000)
    source = recipe["source"] | {
        "pattern": "{plate}/{well}_s{site}_w{channel}.tif",
        "channels": {str(number): name for number, name in enumerate(CHANNELS, 1)},
    }
    return recipe | {"source": source, "correct": {"method": "basic", "frames": 2, "working_size": 16}}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_stays_within_the_cap(tmp_path: Path) -> None:
    recipe = _large(tmp_path / "images", wells=12, side=768) | {"measure": {}}
    with WorkerWatch() as seen:
        told = run(recipe, tmp_path / "run", executor=Processes(1))
    assert (told.done, told.rejected) == (12, 0)
    assert seen.looks > 20
    assert 100 << 20 < seen.peak <= 1.1 * (480 << 20)


def test_a_field_that_cannot_fit_is_refused_with_its_size(tmp_path: Path) -> None:
    recipe = _large(tmp_path / "images", wells=1, side=2048, channels=1)
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
