from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from phenostream import inference
from phenostream.training import Experiment, Recipe, hash_files, train

RECIPE = {
    "task": "blobs",
    "settings": {"dropout": 0.0},
    "train": {"epochs": 10, "batch_size": 16, "learning_rate": 0.02, "monitor": "entropy", "mode": "min"},
    "seed": 3,
}


@pytest.fixture(scope="module")
def experiment(outside: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """From a recipe's file, into the folder that is named after it."""
    place = tmp_path_factory.mktemp("experiment")
    (place / "quick.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(outside))
        patch.chdir(place)
        told = train("quick.yaml")
    assert told.folder == Path("quick-training")
    return replace(told, folder=place / told.folder)


def test_the_folder_tells_everything(experiment: Experiment) -> None:
    folder = experiment.folder
    assert Recipe.load(folder / "recipe.yaml") == Recipe.load(RECIPE)
    origin = json.loads((folder / "provenance.json").read_text())
    assert origin["recipe"] == yaml.safe_load((folder / "recipe.yaml").read_text())
    assert origin["seed"] == 3
    assert origin["data"] == {"generated": f"{64:064x}"}
    assert {"torch", "numpy", "onnxruntime"} <= set(origin["libraries"])
    told = json.loads((folder / "metrics.json").read_text())
    assert told["metrics"] == dict(experiment.metrics)
    assert told["fit"]["steps"] == 40
    assert told["fit"]["samples_per_s"] > 0
    assert "phenostream experiment" in (folder / "README.txt").read_text()


def test_the_curves_are_a_picture(experiment: Experiment) -> None:
    with Image.open(experiment.folder / "curves.png") as picture:
        assert picture.size[0] > 800
        assert np.asarray(picture.convert("L")).std() > 5


def test_the_package_does_what_the_network_did(experiment: Experiment) -> None:
    package = inference.find(str(experiment.folder / "package"))
    assert package.sha256 == experiment.package.sha256
    training = json.loads((experiment.folder / "package" / "training.json").read_text())
    assert training["recipe"]["seed"] == 3
    assert training["fit"]["batch_size"] == 16
    from blobs_task import blob

    images = np.stack([blob(n % 2, np.random.default_rng([99, n])) for n in range(40)])
    told = inference.load(package, device="cpu", threads=1).batch(images)
    scores = told["kind"] if isinstance(told, dict) else np.asarray(told).reshape(40, 2)
    assert float((scores.argmax(1) == np.arange(40) % 2).mean()) == pytest.approx(experiment.metrics["accuracy"])


def test_again_it_trains_nothing(experiment: Experiment) -> None:
    before = {path: path.stat().st_mtime_ns for path in (experiment.folder / "package").iterdir()}
    again = train(RECIPE, experiment.folder)
    assert again.package.sha256 == experiment.package.sha256
    assert again.metrics == experiment.metrics
    assert {path: path.stat().st_mtime_ns for path in (experiment.folder / "package").iterdir()} == before


@pytest.mark.slow
def test_a_lost_package_is_written_again(experiment: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(experiment.folder, folder)
    shutil.rmtree(folder / "package")
    again = train(RECIPE, folder)
    assert (folder / "package" / "weights.safetensors").read_bytes() == (
        experiment.folder / "package" / "weights.safetensors"
    ).read_bytes()
    assert again.metrics == experiment.metrics


@pytest.mark.slow
def test_a_package_of_another_recipe_is_not_kept(experiment: Experiment, tmp_path: Path) -> None:
    """Its checkpoints may be deleted, as the folder's README says; what is trained there next is what it then holds."""
    folder = tmp_path / "copy"
    shutil.copytree(experiment.folder, folder)
    shutil.rmtree(folder / "checkpoints")
    again = train(RECIPE, folder, overrides=["seed=77"])
    told = json.loads((folder / "package" / "training.json").read_text())
    assert told["seed"] == 77
    assert again.package is not None
    assert again.package.sha256 != experiment.package.sha256


def test_files_are_hashed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_files(tmp_path, [tmp_path / "a" / "b.txt"]) == {"a/b.txt": wanted}
