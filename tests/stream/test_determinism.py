"""Same recipe, same inputs: the same bytes for any batch size, worker count and number of kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import phenostream.profiles
from phenostream.errors import NotFoundError
from phenostream.stream import Inline, Processes, run, status
from phenostream.stream.folder import size_of

Make = Callable[..., Any]


def _parts(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "parts").rglob("*.parquet"))


def _asked(plate: Make, recipe: Make) -> dict[str, Any]:
    root = plate(6, plates=("P1", "P2"), channels=("1", "2"))
    return recipe(root, correct={"method": "basic", "frames": 4}, measure={})


@pytest.mark.slow
def test_batches_and_workers_change_no_byte(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = _asked(plate, recipe)
    reference = run(asked, tmp_path / "reference", executor=Inline())
    assert reference.done == 12
    rows = phenostream.profiles.read_profiles(reference.folder)
    for batch_size, workers in ((1, 1), (7, 2), (32, 2)):
        asked["stream"] = {"disk_budget": 50_000_000, "batch_size": batch_size}
        told = run(asked, tmp_path / f"b{batch_size}w{workers}", executor=Processes(workers))
        assert _parts(told.folder) == _parts(reference.folder)
        assert phenostream.profiles.read_profiles(told.folder).equals(rows)


@pytest.mark.slow
def test_ten_kills_lose_and_double_nothing(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = _asked(plate, recipe)
    reference = run(asked, tmp_path / "reference", executor=Inline())
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(asked))
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "phenostream", "run", str(file), "--out", str(folder), "--quiet", "--no-report"]
    rng, began = random.Random(7), False
    for _ in range(10):
        process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.5, 6.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            shown = status(folder)
        except NotFoundError:  # it died before there was anything to read
            assert not began
            continue
        began = True
        assert shown.inputs in (0, 12)
        assert shown.rejected == shown.failed == 0
    ended = subprocess.run([*command, "--workers", "2", "--json"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["done"] == 12
    assert _parts(folder) == _parts(reference.folder)
    rows = phenostream.profiles.read_profiles(reference.folder)
    assert phenostream.profiles.read_profiles(folder).equals(rows)
    assert size_of(folder / "spool") == 0
    assert not list((folder / "parts").rglob("*.part"))


@pytest.mark.slow
def test_ctrl_c_ends_soon_with_130_and_an_exact_status(plate: Make, recipe: Make, tmp_path: Path) -> None:
    asked = _asked(plate, recipe)
    units = 12 * _copied(Path(asked["source"]["base"]), 20)  # so much work that only who gives it up ends soon
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(asked))
    folder = tmp_path / "stopped"
    command = [sys.executable, "-m", "phenostream", "run", str(file), "--out", str(folder), "--quiet", "--no-report"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (folder / "parts").is_dir() or not _parts(folder):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    shown = status(folder)
    assert shown.done + shown.waiting == units
    assert shown.done == len(_parts(folder))
    assert shown.waiting > 0
    assert shown.pid == 0
    assert size_of(folder / "spool") == 0


def _copied(root: Path, times: int) -> int:
    """Give the plates below `root` so many twins of other names in all; `times` again."""
    for plate in sorted(root.iterdir()):
        for number in range(1, times):
            twin = root / f"{plate.name}x{number:02d}"
            twin.mkdir()
            for image in plate.iterdir():
                os.link(image, twin / image.name)
    return times
