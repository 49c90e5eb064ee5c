"""The task `classify`: what it refuses, that it fits and exports, and that it holds on experiments never seen."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from phenostream import datasets, training
from phenostream.benchmark.scoring import score
from phenostream.errors import ChannelMissingError, DamagedError, LeakageError, RecipeError
from phenostream.inference import load, open_package, prove
from phenostream.synthetic.screen import ScreenDesign, fields
from phenostream.training import FitSettings, checkpoints, fit, registry
from phenostream.training.classification.applying import embed_pack, write_embeddings
from phenostream.training.classification.network import Exported
from phenostream.training.devices import Team
from phenostream.training.order import Order

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


def stream(learnt: object, batch: int = 8, *, begin: int = 0, rank: int = 0, world: int = 1, count: int = 6) -> list:
    """So many batches of a process, from the step `begin` on."""
    team = Team(torch.device("cpu"), rank, world)
    steps = range(begin, begin + count)
    return list(islice(learnt.batches(Order(len(learnt), batch, 3), steps, team=team, workers=0), count))


@pytest.mark.parametrize("metric", ["arcface", "contrastive", "none"])
@pytest.mark.parametrize("normalise", ["site", "plate", "screen"])
def test_every_loss_reaches_every_weight(packed: Path, metric: str, normalise: str) -> None:
    torch.manual_seed(0)
    learnt = task(packed, metric={"kind": metric}, normalise=normalise, condition="cell_type")
    network = learnt.network().train()
    (batch,) = stream(learnt, count=1)
    loss, told = learnt.loss(network, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert ("metric" in told) == (metric != "none")
    assert all(one.grad is not None for one in network.parameters())


def test_batches_are_what_is_packed(packed: Path) -> None:
    learnt = task(packed, views={"turn": False}, condition="cell_type", channels=["Mito", "DNA"])
    for batch in stream(learnt):
        for place, row in enumerate(batch["site"].tolist()):
            assert np.array_equal(batch["image"][place].numpy(), learnt.sites.pack[row][[4, 0]])
            assert batch["label"][place] == learnt.sites.labels[row]
            assert batch["told"][place].tolist() == [float(kind == learnt.sites.condition[row]) for kind in (0, 1)]


def test_an_epoch_takes_each_site_to_learn_from_once(packed: Path) -> None:
    learnt = task(packed)
    steps = len(learnt) // 8
    seen = Counter(row for batch in stream(learnt, count=steps) for row in batch["site"].tolist())
    assert set(seen) <= set(learnt.sites.train.tolist())
    assert seen.total() == 8 * steps
    assert set(seen.values()) == {1}


def test_a_batch_is_the_same_wherever_the_stream_begins(packed: Path) -> None:
    """Within an epoch, at its end, and in a later one."""
    learnt = task(packed, views={"crop": 24})
    steps = len(learnt) // 8
    whole = stream(learnt, count=3 * steps)
    for begin in (1, steps - 1, steps, 2 * steps + 1):
        for one, other in zip(stream(learnt, begin=begin, count=steps), whole[begin:], strict=False):
            assert all(torch.equal(one[name], other[name]) for name in ("image", "label", "told", "site"))


def test_processes_share_each_batch_exactly(packed: Path) -> None:
    learnt = task(packed)
    alone, *ranks = stream(learnt), *(stream(learnt, rank=rank, world=2) for rank in range(2))
    for one, *parts in zip(alone, *ranks, strict=True):
        assert [len(part["site"]) for part in parts] == [4, 4]
        for name in ("image", "label", "site"):
            assert torch.equal(torch.cat([part[name] for part in parts]), one[name])


def test_samplers_are_the_loaders(packed: Path) -> None:
    even = stream(task(packed, sampler={"kind": "balanced"}), 9, count=4)
    seen = Counter(label for batch in even for label in batch["label"].tolist())
    assert set(seen.values()) == {6}
    told = {"kind": "groups", "each": 2, "across": "experiment"}
    learnt = task(packed, sampler=told)
    place = learnt.sites.pack.table["experiment"].to_pylist()
    for batch in stream(learnt, count=4):
        assert set(Counter(batch["label"].tolist()).values()) == {2}
        pairs = {
            (label, place[row]) for label, row in zip(batch["label"].tolist(), batch["site"].tolist(), strict=True)
        }
        assert len(pairs) == 8, "replicates are from two experiments"
    with pytest.raises(RecipeError, match="3 units a value in a batch of 8"):
        stream(task(packed, sampler={"kind": "groups", "each": 3}))


def test_a_split_that_leaks_does_not_begin(packed: Path, tmp_path: Path) -> None:
    leaking = task(packed, split={"train": {"site": 1}, "keep": {"site": 2}})
    with pytest.raises(LeakageError, match="4 experiments are on both sides of the split"):
        fit(leaking, FitSettings(epochs=1, batch_size=8, tensorboard=False), folder=tmp_path)


def test_a_damaged_site_is_named(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "pack")
    learnt = task(tmp_path / "pack")
    span = learnt.sites.pack.span(int(learnt.sites.train[0]))
    with (tmp_path / "pack" / span.shard).open("r+b") as file:
        file.seek(span.offset + 3)
        file.write(b"\x00\x01\x02\x03")
    name = learnt.sites.pack.table["site_id"][int(learnt.sites.train[0])].as_py()
    with pytest.raises(DamagedError, match=f"site {name} in shard .* fails its checksum"):
        stream(learnt, count=len(learnt) // 8)


class Stop(Exception):
    """The test pulls the plug."""


def test_stopped_inside_an_epoch_it_goes_on_to_the_same_numbers(packed: Path, tmp_path: Path) -> None:
    learnt = task(packed, condition="cell_type", views={"crop": 24})
    train = FitSettings(epochs=2, batch_size=8, tensorboard=False, checkpoint_minutes=0, log_every=1, ema=0.9)

    def stop(told: object) -> None:
        if told.step >= stops[0]:
            stops.pop(0)
            raise Stop

    steps = len(learnt) // 8
    stops = [1, steps - 1, steps, steps + 2]
    fit(learnt, train, folder=tmp_path / "whole", seed=1, device="cpu")
    while stops:
        with pytest.raises(Stop):
            fit(task(packed, condition="cell_type", views={"crop": 24}), train, folder=tmp_path / "broken", seed=1,
                device="cpu", progress=stop)  # fmt: skip
    fit(learnt, train, folder=tmp_path / "broken", seed=1, device="cpu")
    for name in ("steps.csv", "validations.csv"):
        one, other = (timeless(tmp_path / folder / name) for folder in ("whole", "broken"))
        assert one == other
    left, right = (checkpoints.latest(tmp_path / one / "checkpoints")["learner"] for one in ("whole", "broken"))
    for name, weight in left["network"].items():
        assert torch.equal(weight, right["network"][name]), name


def test_a_batch_can_be_as_large_as_the_memory_holds(packed: Path, tmp_path: Path) -> None:
    train = FitSettings(epochs=1, batch_size="auto", batch_limit=8, tensorboard=False)
    told = fit(task(packed), train, folder=tmp_path, seed=1, device="cpu")
    assert (told.batch_size, told.steps) == (8, len(task(packed)) // 8)
    with pytest.raises(RecipeError, match=r"needs 2 examples.*set train.batch_size to 2 or more"):
        fit(task(packed), FitSettings(epochs=1, batch_size=1), folder=tmp_path / "one", seed=1, device="cpu")


def timeless(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{key: value for key, value in row.items() if key != "samples_per_s"} for row in csv.DictReader(file)]


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
@pytest.mark.timeout(1200)  # half a minute of processor time; machines may be busy
@pytest.mark.parametrize(
    ("network", "shape"),
    [("convnext", {"size": "atto", "patch": 2}), ("efficientnet", {"size": "b0", "stem": "small"})],
)
def test_every_backbone_learns_and_its_package_is_the_network(
    packed: Path, tmp_path: Path, network: str, shape: dict[str, object]
) -> None:
    """Grey levels in, the same numbers out of ONNX Runtime as out of the network, at sizes that were never seen."""
    learnt = task(packed, network=network, shape=shape, condition="cell_type", normalise="plate", turns=1)
    train = FitSettings(epochs=4, batch_size=8, learning_rate=2e-3, warmup=0.1, tensorboard=False)
    told = fit(learnt, train, folder=tmp_path / "fit", device="cpu", seed=1)
    entropy = [float(row["entropy"]) for row in timeless(tmp_path / "fit" / "steps.csv")]
    assert np.mean(entropy[-4:]) < np.mean(entropy[:4])
    model = load(learnt.export(told.network, tmp_path / "package", training={}, metrics={}))
    rng = np.random.default_rng(0)
    for side in (32, 45, 64):
        image = rng.uniform(0, 60, (2, 20, side, side + 3)).astype(np.float32)
        image[:, 6:] = image[:, 6:].mean((2, 3), keepdims=True)
        with torch.no_grad():
            wanted = Exported(told.network, 1)(torch.from_numpy(image))
        found = [model.predict(one) for one in image]
        for name, one in zip(("log_probability", "embedding"), wanted, strict=True):
            given = np.stack([answer[name] for answer in found])
            np.testing.assert_allclose(given, one.numpy(), atol=1e-4 * max(1, float(one.abs().max())), rtol=0)


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
