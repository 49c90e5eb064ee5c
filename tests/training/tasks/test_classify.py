"""The task `classify`: what it refuses, that it fits and exports, and that it holds on experiments never seen."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from phenostream import datasets, training
from phenostream.benchmark.scoring import score
from phenostream.errors import ChannelMissingError, RecipeError
from phenostream.inference import load, open_package, prove
from phenostream.synthetic.screen import ScreenDesign, fields
from phenostream.training import registry
from phenostream.training.classification.applying import embed_pack, write_embeddings

HELD = {"train": {"dataset": "train"}, "keep": {"dataset": "test"}}
TINY = {"network": "resnet", "shape": {"depth": 18, "width": 4, "stem": "small"}, "embedding": 8, "split": HELD}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classify")
    design = ScreenDesign(
        experiments=("HUVEC-01", "HUVEC-02", "RPE-01", "RPE-02"), test_experiments=("HUVEC-02", "RPE-02"),
        perturbations=4, positives=1, negatives=1, shape=(32, 40), missing=0.0,
    )  # fmt: skip
    datasets.pack(fields(design), folder)
    return folder


def task(packed: Path, **told: object) -> object:
    return registry.build("classify", registry.settings("classify", {"pack": str(packed), **TINY, **told}))


@pytest.mark.parametrize("metric", ["arcface", "contrastive", "none"])
@pytest.mark.parametrize("normalise", ["site", "plate", "screen"])
def test_every_loss_reaches_every_weight(packed: Path, metric: str, normalise: str) -> None:
    torch.manual_seed(0)
    learnt = task(packed, metric={"kind": metric}, normalise=normalise, condition="cell_type")
    network = learnt.network().train()
    batch = learnt.collate([learnt.example(place, np.random.default_rng(place)) for place in range(8)])
    loss, told = learnt.loss(network, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert ("metric" in told) == (metric != "none")
    assert all(one.grad is not None for one in network.parameters())


def test_examples_come_as_they_are_packed(packed: Path) -> None:
    learnt = task(packed, views={"turn": False}, condition="cell_type", forget=0.0)
    example = learnt.example(5, np.random.default_rng(0))
    row = int(learnt.sites.train[5])
    assert (example["image"] == learnt.sites.pack[row]).all()
    assert example["told"].tolist() == [float(kind == learnt.sites.condition[row]) for kind in (0, 1)]
    forgetful = task(packed, condition="cell_type", forget=1.0)
    assert forgetful.example(5, np.random.default_rng(0))["told"].tolist() == [0, 0]


def test_settings_that_cannot_be_are_refused(packed: Path) -> None:
    with pytest.raises(RecipeError, match=r"resnet: deep: .*its keys are: depth"):
        task(packed, shape={"deep": 3})
    with pytest.raises(RecipeError, match="no backbone 'vgg'"):
        task(packed, network="vgg", shape={})
    with pytest.raises(RecipeError, match="a channel is named twice"):
        task(packed, channels=["DNA", "DNA"])


@pytest.fixture(scope="module")
def experiment(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> training.Experiment:
    recipe = {
        "task": "classify",
        "settings": {"pack": str(packed), **TINY, "condition": "cell_type", "normalise": "plate", "turns": 2},
        "train": {"epochs": 2, "batch_size": 8, "ema": 0.9, "tensorboard": False},
    }
    return training.train(recipe, tmp_path_factory.mktemp("fit"), device="cpu")


def test_a_fit_ends_in_a_package_that_proves_itself(experiment: training.Experiment, packed: Path) -> None:
    assert set(experiment.metrics) == {"accuracy", "well_accuracy", "entropy"}
    package = open_package(experiment.folder / "package")
    assert {check.state for check in prove(package)} <= {"passed", "left out"}
    assert package.channels[:6] == ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
    assert package.channels[6:8] == ("cell_type=HUVEC", "cell_type=RPE")
    assert package.settings["seen"]["experiment"] == ["HUVEC-01", "RPE-01"]
    assert f"{packed.name}/pack.json" in json.loads(package.read("training.json"))["data"]


def test_the_package_takes_fields_of_another_size(experiment: training.Experiment) -> None:
    model = load(experiment.folder / "package")
    image = np.random.default_rng(0).uniform(0, 50, (20, 48, 33)).astype(np.float32)
    found = model.predict(image)
    assert abs(np.exp(found["log_probability"]).sum() - 1) < 0.2  # the mean of logarithms is not normalised
    assert found["embedding"].shape == (8,)


def test_the_table_says_what_was_seen(experiment: training.Experiment, packed: Path, tmp_path: Path) -> None:
    pack = datasets.open_pack(packed)
    table = embed_pack(experiment.folder / "package", pack)
    assert table.num_rows == len(pack)
    seen = dict(zip(table["Metadata_Experiment"].to_pylist(), table["Metadata_Seen"].to_pylist(), strict=True))
    assert seen == {"HUVEC-01": "plate", "HUVEC-02": "no", "RPE-01": "plate", "RPE-02": "no"}
    np.testing.assert_allclose(table["PixelMean_ER"][3].as_py(), pack[3][1].mean(), rtol=1e-5)
    assert (
        write_embeddings(experiment.folder / "package", pack, tmp_path / "t.parquet", where={"plate": "RPE-02_1"}) < 20
    )


def test_embedding_and_probabilities_are_the_models_own(experiment: training.Experiment, packed: Path) -> None:
    pack = datasets.open_pack(packed)
    package = open_package(experiment.folder / "package")
    table = embed_pack(package, pack, where={"experiment": "RPE-02"})
    row = pack.table["site_id"].to_pylist().index(table["Metadata_Site_Id"][0].as_py())
    plates = np.array(pack.table["plate"].to_pylist())
    pixels = np.stack([pack[int(one)] for one in np.flatnonzero(plates == plates[row])]).astype(float)
    told = [0, 1, *pixels.mean((0, 2, 3)), *pixels.std((0, 2, 3))]
    planes = np.broadcast_to(np.array(told, np.float32)[:, None, None], (14, 32, 40))
    found = load(package).predict(np.concatenate([pack[row].astype(np.float32), planes]))
    expected = [table[f"LogProbability_{one}"][0].as_py() for one in package.settings["classes"]]
    np.testing.assert_allclose(found["log_probability"], expected, atol=1e-4)
    np.testing.assert_allclose(found["embedding"], [table[f"screen_{k}"][0].as_py() for k in range(8)], atol=1e-4)


def test_a_pack_without_a_channel_is_refused(experiment: training.Experiment, tmp_path: Path) -> None:
    design = ScreenDesign(experiments=("HUVEC-01",), test_experiments=(), perturbations=2, shape=(32, 32))
    datasets.pack(fields(design), tmp_path / "five", settings=datasets.PackSettings(channels=("DNA", "ER")))
    with pytest.raises(ChannelMissingError, match="needs 'Actin'"):
        embed_pack(experiment.folder / "package", datasets.open_pack(tmp_path / "five"))


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute of processor time; machines may be busy
def test_perturbations_are_told_apart_on_experiments_never_seen(tmp_path: Path) -> None:
    """Generated screen, pack, fit, score: chance is 1 in 12, brightness alone about one in two."""
    began = time.process_time()
    names = tuple(f"{kind}-{number:02d}" for kind in ("HUVEC", "RPE") for number in range(1, 7))
    design = ScreenDesign(experiments=names, test_experiments=tuple(n for n in names if int(n[-2:]) > 3), seed=3)
    datasets.pack(fields(design), tmp_path / "pack")
    recipe = Path(__file__).parents[3] / "recipes" / "screen.yaml"
    told = training.train(recipe, tmp_path / "fit", overrides=[f"settings.pack={tmp_path / 'pack'}"], device="cpu")
    write_embeddings(told.folder / "package", datasets.open_pack(tmp_path / "pack"), tmp_path / "t.parquet", threads=1)
    found = score(tmp_path / "t.parquet", draws=200)
    spent = time.process_time() - began
    top1, baselines = found["accuracy"]["site"]["top1"], found["accuracy"]["baselines"]
    assert top1["low"] > 0.6
    assert top1["low"] > baselines["brightness"]["high"]
    assert baselines["plate_mean"]["value"] < 0.2
    model, chance = found["embedding"]["model"]["tvn"], found["embedding"]["chance"]["raw"]
    assert model["retrieval"]["low"] > 3 * chance["retrieval"]["value"]
    assert found["screen"]["sites_seen_in_training"] > 0
    assert spent < 180, f"{spent:.0f} s of processor time"
