"""The network that ships as a run's segmenter: one thread a worker, on the processor, within the memory of a worker."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import phenostream.profiles
from phenostream import formats, inference, objects
from phenostream.sources import open_store
from phenostream.stream import Inline, Processes, failures, run, steps
from phenostream.stream.recipe import Recipe
from phenostream.stream.start import workers_of
from phenostream.values import Plane

Make = Callable[..., Any]
SEGMENT = {"model": "nuclei", "channel": "DNA", "memory_mb": 200}


@pytest.fixture
def asked(plate: Make, recipe: Make) -> dict[str, Any]:
    """Four fields of 128 x 160 pixels with six nuclei each."""
    told: dict[str, Any] = recipe(plate(4), segment=SEGMENT, measure={"families": ["size_shape", "intensity"]})
    return told


def _bytes(folder: Path) -> dict[str, str]:
    """SHA-256 of every part, by name."""
    parts = sorted((folder / "parts").rglob("*.parquet"))
    return {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}


@pytest.mark.slow
def test_workers_and_batches_change_no_byte(asked: dict[str, Any], tmp_path: Path) -> None:
    reference = run(asked, tmp_path / "reference", executor=Inline())
    assert (reference.done, reference.rejected, reference.failed) == (4, 0, 0)
    rows = phenostream.profiles.read_profiles(reference.folder)
    assert rows.num_rows == 24
    expected = _bytes(reference.folder)
    assert len(expected) == 4
    for workers in (1, 2):
        asked["stream"] = {"disk_budget": 50_000_000, "batch_size": workers}
        told = run(asked, tmp_path / f"w{workers}", executor=Processes(workers))
        assert told.done == 4
        assert _bytes(told.folder) == expected


def test_a_worker_is_one_thread_on_the_processor(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[Any, Any]] = []
    load = inference.load

    def watched(package: inference.Package, *, device: Any = "auto", threads: int | None = None) -> inference.Model:
        loaded.append((device, threads))
        return load(package, device=device, threads=threads)

    monkeypatch.setattr(inference, "load", watched)
    objects.forget()
    steps._tools.cache_clear()
    # Even where a recipe asks for more: the workers share the cores.
    asked["segment"] = {**SEGMENT, "threads": 2}
    told = run(asked, tmp_path / "run", executor=Inline())
    assert told.done == 4
    assert loaded == [("cpu", 1)]


def test_a_worker_whose_memory_does_not_hold_the_network_refuses_by_name(asked: dict[str, Any], tmp_path: Path) -> None:
    asked["stream"] = {"disk_budget": 50_000_000, "memory": 360_000_000}
    plain = {**asked, "segment": {"model": "classical", "channel": "DNA"}}
    assert run(plain, tmp_path / "classical", executor=Inline()).done == 4
    told = run(asked, tmp_path / "nuclei", executor=Inline())
    assert (told.done, told.rejected) == (0, 4)
    assert {failure.reason for failure in failures(told.folder)} == {"over-budget"}
    assert "(1, 128, 160) needs about" in (told.folder / "run.log").read_text()
    asked["stream"]["memory"] = 700_000_000
    assert run(asked, tmp_path / "enough", executor=Inline()).done == 4


@pytest.mark.parametrize("segment", [{"model": "classical"}, {"model": "nuclei"}, {"model": "nuclei", "diameter": 26}])
def test_as_many_workers_as_have_room_for_a_common_field(
    asked: dict[str, Any], segment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine of many cores, what the default leaves each worker must hold a field of 2160 x 2160."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    told = Recipe.load({**asked, "segment": segment, "stream": {"disk_budget": 50_000_000}})
    workers = workers_of(told)
    tools = steps._tools(told.canonical_steps())
    assert steps._needed((1, 2160, 2160), 2, 1, tools) <= int(told.stream.memory) // workers
    assert workers in {"classical": {10}, "nuclei": {2, 3, 4, 5, 6}}[segment["model"]]


def test_labels_are_those_of_the_function(asked: dict[str, Any], plate: Make, tmp_path: Path) -> None:
    told = run(asked, tmp_path / "run", executor=Inline())
    rows = phenostream.profiles.read_profiles(told.folder)
    rows = rows.filter([well == "A2" for well in rows.column("Metadata_Well").to_pylist()])
    image = formats.read(open_store(str(plate(4))), Plane("P1/A2_s1_w1.png", "png"))
    labels = objects.segment(image, "nuclei", options={"memory_mb": 200, "threads": 1})
    area = rows.column("Nuclei_AreaShape_Area").to_numpy()[np.argsort(rows.column("ObjectNumber").to_numpy())]
    assert np.array_equal(area, np.bincount(labels.ravel())[1:])
