"""What a large image costs is known, in a process of its own, and what cannot be held is refused before it is begun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from phenostream.errors import OverBudgetError
from phenostream.objects import memory
from phenostream.objects.memory import hold, needed
from phenostream.objects.trained import label_with, shape_at

# The network's own work is capped elsewhere; here it gives the pixels back.
SCRIPT = """
import sys
import numpy as np
from phenostream.objects.facts import FACTS
from phenostream.objects.judge import Judge
from phenostream.objects.trained import averaged, label_with
from phenostream.objects.labels import relabel
from phenostream.testing.segmenters import nuclei

side, diameter, covered = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])

def peak():
    told = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return 1024 * int(told["VmHWM"].split()[0])

def predict(image):
    maps = np.empty((3, *image.shape), np.float32)
    np.clip(image, 0, 1, out=maps[0])
    maps[1] = maps[0]
    maps[2] = 0
    if covered:
        maps[0] = covered
    return maps

rng, width = np.random.default_rng(0), len(FACTS)
shapes = (width,), (width,), (1, 4, width), (1, 4), (1, 4), (1,)
judge = Judge(*(rng.normal(size=shape) for shape in shapes))
tile = nuclei(0, shape=(250, 250), count=400, diameter=diameter).image
image = np.tile(tile, (side // 250, side // 250)).astype(np.uint16)
label_with(averaged(predict, 2), tile, diameter, judge=judge)
before = peak()
found = relabel(label_with(averaged(predict, 2), image, diameter, judge=judge))
print(peak() - before, found.max())
"""


def _grown(side: int, diameter: float, covered: float) -> int:
    """Bytes by which the peak of a child's memory grows while it labels a uint16 image of `side` x `side` pixels."""
    command = [sys.executable, "-c", SCRIPT, str(side), str(diameter), str(covered)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=250, check=True).stdout.split()
    assert int(told[1]) > 0
    return int(told[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak")
@pytest.mark.parametrize(
    ("side", "diameter", "covered"),
    [
        (1250, 32, 0),
        pytest.param(2000, 16, 0.9, marks=pytest.mark.slow),  # every pixel lies in an object
        pytest.param(1000, 16 / 3, 0, marks=pytest.mark.slow),  # enlarged as far as it may be
    ],
)
def test_no_more_is_needed_than_is_told(side: int, diameter: float, covered: float) -> None:
    shown = shape_at((side, side), 16 / diameter)
    told = needed(side**2, shown[0] * shown[1])
    assert _grown(side, diameter, covered) < told


def test_what_cannot_be_held_is_refused_before_it_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 10**9)
    hold(15_000_000, 15_000_000)
    with pytest.raises(
        OverBudgetError, match=r"an image of 40,000,000 pixels.*needs about 1,\d\d\d MB.*1,000 MB are free"
    ):
        hold(40_000_000, 0)
    with pytest.raises(OverBudgetError, match=r"shown to the network as 90,000,000.*diameter"):
        hold(10_000_000, 90_000_000)


def test_an_image_whose_objects_are_too_small_for_memory_never_reaches_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    image = np.tile(np.array([[0, 0, 9], [0, 9, 9], [0, 0, 0]], np.uint8), (500, 500))

    def predict(plane: np.ndarray) -> np.ndarray:
        asked.append(plane.size)
        return np.zeros((3, *plane.shape), np.float32)

    monkeypatch.setattr(memory, "free_memory", lambda: 3 * 10**8)
    with pytest.raises(OverBudgetError, match="2,250,000 pixels, shown to the network as 20,250,000"):
        label_with(predict, image, 4.0)
    assert not asked
    assert not label_with(predict, image, 16.0).any()
    assert asked == [image.size]


def test_small_images_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 0)
    hold(2000 * 1344, 2000 * 1344)
    assert not label_with(lambda plane: np.zeros((3, *plane.shape), np.float32), np.eye(50)).any()
