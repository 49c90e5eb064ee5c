"""The command ``train`` as a person or a script meets it, on a task that another package brings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from phenostream.cli.exits import guarded
from phenostream.cli.train import EPILOG, train

BLOBS = Path(__file__).parents[1] / "training" / "blobs.py"
PROGRAM = (
    "import sys, typer; from phenostream.cli.train import train, EPILOG; from phenostream.cli.exits import guarded\n"
    "app = typer.Typer(pretty_exceptions_enable=False); app.command(epilog=EPILOG)(train)\n"
    "sys.exit(guarded(lambda: app()))"
)

HELD = """

class Held(Blobs):
    \"\"\"Goes half of the way, where it is told so, and there waits to be interrupted.\"\"\"

    losses = 0

    def loss(self, network, batch):
        import os
        import time

        self.losses += 1
        if os.environ.get("HALF_OF_THE_WAY") and self.losses > 120:
            time.sleep(600)
        return super().loss(network, batch)


build = Held
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a recipe, and the task that it names below ``outside``."""
    told = tmp_path / "outside" / "blobs_task-1.0.dist-info"
    told.mkdir(parents=True)
    shutil.copy(BLOBS, tmp_path / "outside" / "blobs_task.py")
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: blobs_task\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[phenostream.tasks]\nblobs = blobs_task\n")
    recipe = {"task": "blobs", "train": {"epochs": 2, "batch_size": 16, "tensorboard": False}}
    (tmp_path / "blobs.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


def start(place: Path, *words: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(filter(None, [str(place / "outside"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], cwd=place, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(place: Path, *words: str) -> tuple[int, str, str]:
    process = start(place, *words)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def here(place: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of the command in this process."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place / "outside"))
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(train)
    return guarded(lambda: app(list(words)))


def test_help_has_examples() -> None:
    app = typer.Typer(rich_markup_mode=None)
    app.command(epilog=EPILOG)(train)
    told = CliRunner().invoke(app, ["--help"]).output
    for words in ("phenostream train nuclei.yaml --out", "--set", "torchrun", "--json", "--device"):
        assert words in told


@pytest.mark.slow
def test_a_recipe_becomes_a_package(place: Path) -> None:
    code, out, err = ended(place, "blobs.yaml", "--json", "--set", "train.epochs=1", "--set", "settings.width=4")
    assert code == 0, err
    told = json.loads(out)
    assert told["folder"] == "blobs-training"
    assert told["fit"]["steps"] == 4
    assert set(told["metrics"]) == {"accuracy", "entropy"}
    assert (place / told["package"] / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("words", "wanted", "message"),
    [
        (["none.yaml"], 6, "no recipe at none.yaml"),
        (["blobs.yaml", "--set", "train.epoch=3"], 2, "train.epoch"),
        (["blobs.yaml", "--set", "task=dance"], 2, "there is no task 'dance'"),
        (["blobs.yaml", "--device", "tpu9000"], 2, "no device is called"),
    ],
)
def test_a_fault_has_a_code_and_a_remedy(
    words: list[str], wanted: int, message: str, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert here(place, monkeypatch, *words) == wanted
    told = capsys.readouterr().err
    assert message in told
    assert "remedy:" in told
    assert "Traceback" not in told


def test_without_a_recipe_the_usage_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert here(place, monkeypatch) == 2


def test_the_schema_is_printed(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here(place, monkeypatch, "--schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert "blobs" in {branch["properties"]["task"]["const"] for branch in schema["oneOf"]}


@pytest.mark.slow
def test_ctrl_c_ends_clean_and_the_next_run_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["blobs.yaml", "--json", "--set", "train.epochs=60", "--set", "train.log_every=1"]
    task = place / "outside" / "blobs_task.py"
    task.write_text(task.read_text() + HELD)
    with monkeypatch.context() as patch:
        patch.setenv("HALF_OF_THE_WAY", "1")
        process = start(place, *words)
    log = place / "blobs-training" / "steps.csv"
    deadline = time.monotonic() + 300
    while not (log.is_file() and log.read_text().count("\n") > 5):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err == "interrupted; run it again to go on at the last checkpoint\n"
    (kept,) = (place / "blobs-training" / "checkpoints").iterdir()
    assert 0 < int(kept.stem.removeprefix("step-")) < 240
    code, out, err = ended(place, *words[:1], *words[2:])
    assert code == 0, err
    assert "240 steps in" in out
    assert "package:" in out
    assert log.read_text().count("\n") == 241
