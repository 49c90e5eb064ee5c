"""A task from outside the product, as another package would bring it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``sys.path`` with the task ``blobs`` and the entry point that announces it."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copy(Path(__file__).with_name("blobs.py"), folder / "blobs_task.py")
    told = folder / "blobs_task-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: blobs_task\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[phenostream.tasks]\nblobs = blobs_task\n")
    return folder


@pytest.fixture(autouse=True)
def _one_thread(outside: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The task in sight of this process and its children; one thread, so that sums have one order."""
    monkeypatch.syspath_prepend(str(outside))
    paths = [str(outside), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
