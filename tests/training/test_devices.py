"""Several processes on one machine, joined by Gloo: what torchrun starts on a machine with several GPUs."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from phenostream.errors import RecipeError
from phenostream.training import FitSettings, devices, fit, registry

TRAIN = {
    "epochs": 2, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.05, "clip": 0, "tensorboard": False,
    "monitor": "accuracy", "log_every": 2, "checkpoint_minutes": 0,
}  # fmt: skip
SETTINGS = {"examples": 24, "norm": "group", "dropout": 0.0}

CHILD = """
import json, os, sys, torch
from pathlib import Path
from phenostream.training import FitSettings, fit, registry
torch.set_num_threads(1)
folder, train, settings, stop = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
def tell(told):
    if told.step == stop:
        import signal
        signal.raise_signal(signal.SIGTERM)  # of one process only: the other must hear of it
task = registry.build("blobs", registry.settings("blobs", settings))
try:
    told = fit(task, FitSettings(**train), folder=folder, seed=1, progress=tell)
    words = json.dumps([told.metrics, told.stopped, told.step])
    open(f"{folder}/rank{os.environ['RANK']}.json", "w").write(words)
except KeyboardInterrupt:
    open(f"{folder}/interrupted{os.environ['RANK']}", "w").close()
tasks = Path("/proc/self/task").glob("*/comm")
left = [name for name in (task.read_text().strip() for task in tasks) if "gloo" in name]
assert not left, f"threads of the group outlive the fit, and may abort the process at its exit: {left}"
"""


def in_two_processes(folder: Path, script: Path, *, stop: int = 0) -> None:
    script.write_text(CHILD)
    command = [
        sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        str(script), str(folder), json.dumps(TRAIN), json.dumps(SETTINGS), str(stop),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.fixture(scope="module")
def two(outside: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit by two processes."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(outside))
        patch.setenv("OMP_NUM_THREADS", "1")
        in_two_processes(folder, folder / "child.py")
    return folder


def columns(path: Path) -> dict[str, list[float]]:
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def alone(folder: Path) -> None:
    task = registry.build("blobs", registry.settings("blobs", SETTINGS))
    fit(task, FitSettings(**TRAIN), folder=folder, seed=1)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(two: Path, tmp_path: Path) -> None:
    """Same losses, same norms of the gradient, same weights: the mean over two halves is that of the whole batch."""
    alone(tmp_path)
    one, both = columns(tmp_path / "steps.csv"), columns(two / "steps.csv")
    assert both["step"] == [1, 2, 3, 4, 5, 6]
    for name in ("loss", "gradient", "accuracy"):
        assert both[name] == pytest.approx(one[name], rel=1e-5)
    left, right = (load_file(max(place.glob("best-*.safetensors"))) for place in (tmp_path, two))
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=1e-5, atol=1e-6)
    words = [json.loads((two / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert words[0] == words[1], "both processes must end with the same metrics and words"


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(two: Path, tmp_path: Path) -> None:
    in_two_processes(tmp_path / "broken", tmp_path / "child.py", stop=2)
    assert len(list((tmp_path / "broken").glob("interrupted*"))) == 2
    steps = columns(tmp_path / "broken" / "steps.csv")["step"]
    assert steps == [1, 2, 3], "it stops at the next reading, where all hear of it: the end of the epoch"
    in_two_processes(tmp_path / "broken", tmp_path / "child.py")
    whole, broken = columns(two / "steps.csv"), columns(tmp_path / "broken" / "steps.csv")
    whole.pop("samples_per_s"), broken.pop("samples_per_s")
    assert whole == broken


def test_uneven_shares_are_refused(tmp_path: Path) -> None:
    from phenostream.training.batch_size import choose

    team = devices.Team(torch.device("cpu"), rank=0, world=3)
    task = registry.build("blobs", registry.settings("blobs", SETTINGS))
    with pytest.raises(RecipeError, match="3 processes cannot share a batch of 8 evenly"):
        choose(task, FitSettings(**TRAIN), team, seed=0)


def test_the_device_that_is_there_is_picked() -> None:
    there = torch.cuda.is_available()
    assert devices.pick("auto").type == ("cuda" if there else "cpu")
    assert devices.pick("cpu") == torch.device("cpu")
    with pytest.raises(RecipeError, match="no device is called 'gpu'"):
        devices.pick("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match="no CUDA device"):
        devices.pick("cuda:1")


def test_precision_follows_the_device() -> None:
    cpu = torch.device("cpu")
    assert devices.half("auto", cpu) is None
    assert devices.half("fp32", cpu) is None
    assert devices.half("bf16", cpu) is torch.bfloat16
    with pytest.raises(RecipeError, match="fp16 needs a GPU"):
        devices.half("fp16", cpu)


def test_the_choice_of_algorithms_is_put_back() -> None:
    with devices.repeatable(strictly=True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_learns_in_every_precision(precision: str, tmp_path: Path) -> None:
    settings = FitSettings(epochs=12, batch_size=16, learning_rate=0.02, precision=precision, workers=1)
    task = registry.build("blobs", registry.settings("blobs", {"dropout": 0.0}))
    told = fit(task, settings, folder=tmp_path, device="cuda", seed=3)
    assert told.metrics["accuracy"] >= 0.85
    assert told.device == torch.cuda.get_device_name()
    assert next(told.network.parameters()).device.type == "cpu"
