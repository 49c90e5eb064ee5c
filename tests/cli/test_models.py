"""`phenostream models` as a person or a script meets it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phenostream import inference
from phenostream.cli.exits import guarded
from phenostream.cli.models import app
from phenostream.synthetic import RangeServer
from phenostream.testing.packages import small_package

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command: exit code, output, errors. Its user's folder is empty at first."""
    monkeypatch.setenv("PHENOSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PHENOSTREAM_MODELS", str(tmp_path / "shelf"))

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["phenostream models", *map(str, words)])
        code = guarded(app)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def package(tmp_path: Path) -> inference.Package:
    return small_package(tmp_path / "shelf" / "small", channels=2)


@pytest.mark.parametrize("command", ["list", "show", "test", "import", "export"])
def test_every_command_has_help_with_an_example(models: Run, command: str) -> None:
    code, out, _ = models(command, "--help")
    assert code == 0
    assert f"phenostream models {command}" in out


def test_the_list_tells_each_model_and_why_one_is_refused(
    models: Run, package: inference.Package, tmp_path: Path
) -> None:
    broken = small_package(tmp_path / "shelf" / "broken").folder
    (broken / "LICENSE").write_text("mine")
    code, out, _ = models("list", "--json")
    told = {one["name"]: one for one in json.loads(out)}
    assert code == 0
    assert told["small"]["sha256"] == package.sha256[:12]
    assert told["small"]["takes"] == "cyx: channel0, channel1"
    assert (told["small"]["state"], told["broken"]["state"]) == ("ok", "changed")
    assert "LICENSE" in told["broken"]["message"]
    code, out, _ = models("list")
    assert code == 0
    assert "small" in out
    assert "changed" in out


def test_the_card_tells_everything(models: Run, package: inference.Package) -> None:
    code, out, _ = models("show", "small", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["sha256"] == package.sha256
    assert told["metrics"] == {"accuracy": 0.5}
    assert told["training"]["seed"] == 0
    assert told["input"]["channels"] == ["channel0", "channel1"]
    assert told["halo"] == [4, 4]
    assert {path: one["sha256"] for path, one in told["files"].items()} == package.files
    code, out, _ = models("show", package.folder)
    assert code == 0
    for word in ("A small network", "BSD-3-Clause", "accuracy", "model.onnx"):
        assert word in out


def test_what_strangers_write_does_not_steer_the_terminal(models: Run, package: inference.Package) -> None:
    path = package.folder / "rdf.yaml"
    path.write_text(
        path.read_text().replace("A small network with", '"\\e[2J[bold]A network').replace("for tests.", 'x"')
    )
    code, out, _ = models("show", "small")
    assert code == 0
    assert "\x1b" not in out
    assert "[bold]" in out


def test_testing_tells_in_the_exit_code(models: Run, package: inference.Package) -> None:
    code, out, _ = models("test", "small", "--device", "cpu", "--threads", 1, "--json")
    assert code == 0
    assert {one["state"] for one in json.loads(out)} == {"passed"}
    rdf = package.folder / "rdf.yaml"
    rdf.write_text(rdf.read_text().replace("halo: 4", "halo: 1"))
    code, out, _ = models("test", "small")
    assert code == 7
    assert "failed" in out
    assert models("test", "small", "--device", "quantum")[0] == 2


def test_in_and_out_and_in_again(models: Run, package: inference.Package, tmp_path: Path) -> None:
    code, out, _ = models("export", "small", "--out", tmp_path / "small.zip")
    assert code == 0
    assert out.strip() == str(tmp_path / "small.zip")
    code, out, _ = models("import", tmp_path / "small.zip", "--name", "mine", "--json")
    assert code == 0
    assert json.loads(out)["sha256"] == package.sha256
    assert inference.find("mine").folder == tmp_path / "home" / "models" / "mine"
    code, _, err = models("import", tmp_path / "small.zip", "--name", "mine")
    assert code == 2
    assert "exists" in err
    assert models("import", package.folder, "--name", "mine", "--replace")[0] == 0


def test_a_release_asset_comes_over_the_net(models: Run, package: inference.Package, tmp_path: Path) -> None:
    zipped = inference.export_package(package, tmp_path / "served" / "small.zip")
    sha256 = hashlib.sha256(zipped.read_bytes()).hexdigest()
    with RangeServer(zipped.parent) as server:
        code, _, err = models("import", f"{server.url}/small.zip", "--sha256", "0" * 64)
        assert code == 6
        assert "SHA-256" in err
        assert not (tmp_path / "home").exists()
        assert models("import", f"{server.url}/small.zip", "--sha256", sha256)[0] == 0
        assert models("import", f"{server.url}/none.zip")[0] == 6
    assert inference.open_package(tmp_path / "home" / "models" / "small").sha256 == package.sha256


@pytest.mark.parametrize("url", ["http://example.org/a.zip", "ftp://example.org/a.zip", "file:///etc/passwd"])
def test_other_ways_than_https_are_refused(models: Run, url: str) -> None:
    code, _, err = models("import", url)
    assert code == 2
    assert "https" in err


def test_faults_have_their_exit_codes(models: Run, package: inference.Package) -> None:
    code, _, err = models("show", "large")
    assert code == 6
    assert "small" in err
    (package.folder / "LICENSE").unlink()
    code, _, err = models("test", "small")
    assert code == 6
    assert "LICENSE" in err
    assert models("nothing")[0] == 2
