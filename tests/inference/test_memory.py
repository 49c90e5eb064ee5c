"""The cap holds in a process of its own, whatever the size of the image."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from phenostream import inference
from phenostream.inference import memory
from phenostream.inference.graph import Step
from phenostream.inference.memory import _alive
from phenostream.testing.packages import small_package

SCRIPT = """
import json, sys
import numpy as np
from phenostream import inference

folder, side, cap = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
model = inference.load(folder, threads=1)
shape = [side] * len(model.frame.names)

class Image:
    shape, dtype = (1, *shape), np.dtype(np.uint16)
    def __getitem__(self, place):
        return np.full([len(range(*one.indices(most))) for one, most in zip(place, self.shape)], 7, np.uint16)

class Nowhere:
    def __init__(self, shape):
        self.shape, self.written = shape, 0
    def __getitem__(self, place):
        return np.zeros([len(range(*one.indices(most))) for one, most in zip(place, self.shape)], np.float32)
    def __setitem__(self, place, values):
        self.written += values.size

def peak():
    told = dict(line.split(":") for line in open("/proc/self/status"))
    return int(told["VmHWM"].split()[0]) / 1000

tensors = model.package.description.outputs
out = {one.id: Nowhere((len(one.channels), *model.frame.output_shape(one.id, shape))) for one in tensors}
model.cost
before = peak()
model.predict(Image(), memory_mb=cap, out=out)
written = all(one.written >= np.prod(one.shape) for one in out.values())
print(json.dumps({"grown": peak() - before, "written": written}))
"""


def _grown(package: inference.Package, side: int, cap: float) -> float:
    """Megabytes by which the peak of a child's memory grows while it predicts on an image that lies nowhere."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(package.folder), str(side), str(cap)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=250, check=True).stdout)
    assert told["written"]
    return float(told["grown"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak")
@pytest.mark.parametrize(
    ("axes", "levels", "side", "cap"),
    [
        ("yx", 2, 1500, 200),
        pytest.param("yx", 0, 2500, 80, marks=pytest.mark.slow),
        pytest.param("zyx", 1, 100, 150, marks=pytest.mark.slow),
    ],
)
def test_the_cap_holds(tmp_path: Path, axes: str, levels: int, side: int, cap: float) -> None:
    package = small_package(tmp_path / "small", axes=axes, levels=levels, kernel=3, width=8)
    assert _grown(package, side, cap) < cap


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak")
def test_the_cap_holds_for_an_image_that_is_larger_than_the_cap(tmp_path: Path) -> None:
    package = small_package(tmp_path / "small", kernel=3, width=2)
    assert 9000**2 * 2 / 1e6 > 150  # the image alone, as uint16
    assert _grown(package, 9000, 150) < 150


def test_the_cost_is_straight_and_above_what_goes_in_and_comes_out(tmp_path: Path) -> None:
    model = inference.load(small_package(tmp_path / "small", levels=1), threads=1)
    assert model.cost.pixel >= 4 * (1 + 2 + 3 / 4)
    assert model.cost.pixels(model.cost.bytes(1000)) == pytest.approx(1000)


def test_a_tensor_lives_until_the_last_step_that_takes_it() -> None:
    steps = [
        Step("Conv", ("image",), ("a",)),
        Step("Conv", ("a",), ("b",)),
        Step("Conv", ("b",), ("c",)),
        Step("Add", ("c", "a"), ("d",)),
        Step("Relu", ("d",), ("out",)),
    ]
    assert _alive(steps, [10, 20, 5, 1, 1]) == 35  # a, b and c while c is made
    assert _alive(steps, [1, 1, 1, 50, 60]) == 110  # d and out
    assert _alive([], []) == 0


def test_the_steps_of_the_optimised_graph_are_matched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = small_package(tmp_path / "small", levels=2, width=8)
    tight = inference.load(package, threads=1).cost.pixel
    monkeypatch.setattr(memory, "read_steps", lambda _: [])
    assert tight < inference.load(package, threads=1).cost.pixel
