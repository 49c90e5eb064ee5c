"""A small folder of images with known content, and recipes for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage


def nuclei(seed: int, shape: tuple[int, int] = (128, 160), count: int = 6) -> np.ndarray:
    """Round bright blobs on a grid, jittered, on a noisy background; uint8."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    rows, columns = 2, count // 2
    for row in range(rows):
        for column in range(columns):
            y = int((row + 0.5) * shape[0] / rows + rng.integers(-5, 6))
            x = int((column + 0.5) * shape[1] / columns + rng.integers(-5, 6))
            yy, xx = np.ogrid[: shape[0], : shape[1]]
            image[(yy - y) ** 2 + (xx - x) ** 2 < rng.integers(9, 14) ** 2] = rng.integers(90, 180)
    image = ndimage.gaussian_filter(image, 1.5) + 12 + rng.normal(0, 2, shape)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture
def plate(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder ``images/<plate>/<well>_s1_w<channel>.png``; wells A1, A2 ..."""

    def make(wells: int = 4, plates: tuple[str, ...] = ("P1",), channels: tuple[str, ...] = ("1",)) -> Path:
        root = tmp_path / "images"
        for number, name in enumerate(plates):
            (root / name).mkdir(parents=True, exist_ok=True)
            for well in range(wells):
                for place, channel in enumerate(channels):
                    path = root / name / f"A{well + 1}_s1_w{channel}.png"
                    if not path.exists():
                        Image.fromarray(nuclei(1000 * number + 10 * well + place)).save(path)
        return root

    return make


@pytest.fixture
def recipe() -> Callable[..., dict[str, Any]]:
    """A recipe for such a folder."""

    def make(root: Path, **steps: Any) -> dict[str, Any]:
        return {
            "source": {
                "catalog": "folder",
                "base": str(root),
                "pattern": "{plate}/{well}_s{site}_w{channel}.png",
                "channels": {"1": "DNA", "2": "GFP"},
            },
            "correct": {"method": "none"},
            "segment": {"model": "classical", "channel": "DNA"},
            "measure": {"families": ["size_shape", "intensity"]},
            "stream": {"disk_budget": 50_000_000, "batch_size": 2, "fetchers": 2},
        } | steps

    return make


@pytest.fixture(scope="session", autouse=True)
def _budgets_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of these tests share no disk budget with other runs of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)
        yield
