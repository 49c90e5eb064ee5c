"""The task `segment`: what it shows the network, what it learns from a handful of images, and the package it writes."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import tifffile
from pydantic import ValidationError

torch = pytest.importorskip("torch")

from phenostream import inference, objects  # noqa: E402
from phenostream.errors import NotFoundError, WrongShapeError  # noqa: E402
from phenostream.objects.instances import typical_diameter  # noqa: E402
from phenostream.testing.segmenters import best_overlaps, nuclei  # noqa: E402
from phenostream.training import FitSettings, fit  # noqa: E402
from phenostream.training.losses.segment import map_losses  # noqa: E402
from phenostream.training.segmentation.pictures import hashes, read_pictures  # noqa: E402
from phenostream.training.segmentation.targets import HEAVIEST, weights  # noqa: E402
from phenostream.training.tasks.segment import Settings, build, shares  # noqa: E402
from phenostream.values import Field  # noqa: E402


def tiff(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Ten annotated scenes."""
    folder = tmp_path_factory.mktemp("nuclei")
    for seed in range(10):
        scene = nuclei(seed, count=14, shape=(120, 130), diameter=18 + seed % 3)
        tiff(folder / "images" / f"{seed:02d}.tif", scene.image)
        tiff(folder / "masks" / f"{seed:02d}.tif", scene.labels.astype(np.uint16))
    return folder


@pytest.fixture
def task(folder):
    return build(Settings(data=folder, fold=0, examples=64, widths=(8, 12, 16), side=64))


def test_pictures_from_folders_and_from_zip_files_are_the_same(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        for file in sorted(folder.rglob("*.tif")):
            archive.write(file, f"train/{file.relative_to(folder).as_posix()}")
    here, there = read_pictures(folder), read_pictures(tmp_path)
    assert [one.name for one in here] == [one.name for one in there] == [f"{seed:02d}" for seed in range(10)]
    assert all(
        np.array_equal(a.labels, b.labels) and np.array_equal(a.image, b.image)
        for a, b in zip(here, there, strict=True)
    )
    assert list(hashes(tmp_path)) == ["one.zip"]
    assert len(hashes(folder)) == 20


def test_what_is_no_pair_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match=r"settings\.data"):
        read_pictures(tmp_path)
    tiff(tmp_path / "images" / "a.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(NotFoundError, match="a has only its images"):
        read_pictures(tmp_path)
    tiff(tmp_path / "masks" / "a.tif", np.zeros((4, 5), np.uint16))
    with pytest.raises(WrongShapeError, match=r"\(4, 4\).*\(4, 5\)"):
        read_pictures(tmp_path)


def test_folds_share_all_images_out(folder):
    kept = [[one.name for one in build(Settings(data=folder, fold=fold)).kept] for fold in range(5)]
    assert sorted(name for names in kept for name in names) == [f"{seed:02d}" for seed in range(10)]
    assert build(Settings(data=folder)).kept == []
    with pytest.raises(ValidationError, match="fold"):
        Settings(data=folder, fold=5)


def test_no_window_comes_from_an_image_that_is_kept(task):
    names = {one.name for one in task.kept}
    assert len(names) == 2
    assert len(task._prepared[0]) == 8


def test_examples(task):
    seen = [task.example(index, np.random.default_rng(index)) for index in range(24)]
    again = task.example(5, np.random.default_rng(5))
    assert all(np.array_equal(seen[5][name], again[name]) for name in again)
    batch = task.collate(seen)
    assert batch["image"].shape == (24, 1, 64, 64)
    assert batch["maps"].shape == (24, 3, 64, 64)
    assert batch["image"].isfinite().all()
    assert batch["maps"].min() >= 0
    assert batch["maps"].max() <= 1
    assert batch["weight"].min() >= 1
    assert batch["weight"].max() <= HEAVIEST
    # Depth is nowhere where there is no object, but for the smear of interpolation.
    assert (batch["maps"][:, 1] <= batch["maps"][:, 0] + 0.02).all()
    # What is bright is foreground, whatever the photography did to it.
    inside = batch["maps"][:, 0] > 0.5
    assert batch["image"][:, 0][inside].mean() > batch["image"][:, 0][~inside].mean() + 0.3


def test_objects_are_shown_at_one_scale(folder):
    task = build(Settings(data=folder, diameter=12))
    for picture, ready in zip(task.pictures, task._prepared[0], strict=True):
        wanted = 12 / typical_diameter(picture.labels)
        assert ready.image.shape[1] == pytest.approx(120 * wanted, abs=1)
        assert ready.maps.shape == (4, *ready.image.shape[1:])


def test_small_objects_weigh_more():
    labels = np.zeros((40, 40), np.int32)
    labels[:20, :20], labels[:20, 20:], labels[30:35, 30:35] = 1, 2, 3
    found = weights(labels)
    assert found[0, 0] == found[39, 0] == 1
    assert found[32, 32] == pytest.approx(4)
    assert (weights(np.zeros((3, 3), np.int32)) == 1).all()


def test_rare_shapes_are_drawn_more_often():
    share = shares([(256, 256)] * 8 + [(360, 360)], [100] * 9)
    assert share.sum() == pytest.approx(1)
    assert share[8] / share[0] == pytest.approx(8**0.35)


def test_the_loss_is_least_at_the_truth():
    target = torch.rand(2, 3, 8, 8).clamp(0.01, 0.99)
    weight = torch.ones(2, 8, 8)
    best = sum(map_losses(target.logit(), target, weight).values())
    for shift in (-0.5, 0.5):
        assert sum(map_losses(target.logit() + shift, target, weight).values()) > best + 0.01


def test_a_short_fit_finds_nuclei_and_its_package_does_the_same(task, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    told = FitSettings(
        epochs=10, batch_size=8, learning_rate=0.01, schedule="one-cycle", validate_every=0, tensorboard=False
    )
    result = fit(task, told, folder=tmp_path / "fit", device="cpu", seed=3)
    assert result.metrics["ap_50"] > 0.7
    assert result.metrics["ap_50"] > result.metrics["ap_mean"] > 0.3
    package = task.export(result.network, tmp_path / "mine", training={"note": "test"}, metrics=result.metrics)
    assert inference.find(tmp_path / "mine").sha256 == package.sha256
    assert json.loads((tmp_path / "mine" / "metrics.json").read_text())["ap_50"] == result.metrics["ap_50"]
    segmenter = objects.build(objects.settings({"model": "nuclei", "package": str(tmp_path / "mine")}))
    judge = task.judge(result.network)
    for picture in task.kept:
        labels = segmenter.segment(Field.of(picture.image)).labels
        mine = objects.relabel(task.found(result.network, picture.image, judge))
        assert (best_overlaps(mine, labels) > 0.99).all()
        assert labels.max() == mine.max()
    later = build(Settings(data=task.settings.data, widths=(8, 12, 16), start=tmp_path / "mine"))
    assert later.data() == {**task.data(), "start": package.sha256}
    further = later.network()
    assert all(
        torch.equal(one.float(), other.float())
        for one, other in zip(further.state_dict().values(), result.network.state_dict().values(), strict=True)
    )


def test_where_nothing_is_proposed_there_is_no_judge(task):
    network = task.network()
    torch.nn.init.zeros_(network.unet.head.weight)
    torch.nn.init.constant_(network.unet.head.bias, -9.0)
    assert task.judge(network.eval()) is None
