"""The task `embed`: from a folder of images to a package, on cells made here."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy import ndimage

from phenostream import features, inference, training
from phenostream.errors import NotFoundError, RecipeError
from phenostream.training.embedding.cells import Source, hashes, read_crops
from phenostream.training.tasks import embed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Fields with masks in a zip, fields without masks beside it, and crops."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:150, :180]
    with zipfile.ZipFile(root / "fields.zip", "w") as archive:
        for number in range(2):
            image, labels = np.zeros(yy.shape), np.zeros(yy.shape, np.uint16)
            for place, (y, x) in enumerate([(40, 40), (40, 130), (110, 40), (110, 130)], start=1):
                inside = ((yy - y) / rng.uniform(9, 16)) ** 2 + ((xx - x) / rng.uniform(9, 16)) ** 2 < 1
                image[inside], labels[inside] = rng.uniform(100, 200), 7 * place
            image = (ndimage.gaussian_filter(image, 1) + rng.normal(20, 2, yy.shape)).clip(0, 255).astype(np.uint8)
            for kind, array in (("images", image), ("masks", labels)):
                tifffile.imwrite(root / "one.tif", array)
                archive.write(root / "one.tif", f"a/{kind}/{number}.tif")
            Image.fromarray(image).save(root / f"plain{number}.png")
            Image.fromarray(image[:64, :64]).save(root / f"crop{number}.png")
    (root / "one.tif").unlink()
    return root


MASKS = Source(files="*.zip", cells="masks")


def test_crops_show_the_median_object_at_the_wanted_size(folder):
    crops = read_crops(folder, MASKS, side=96, diameter=20)
    assert crops.shape == (8, 96, 96)
    areas = [np.sum(ndimage.label(crop > 90)[0] == ndimage.label(crop > 90)[0][48, 48]) for crop in crops]
    assert np.median(np.sqrt(np.array(areas) * 4 / np.pi)) == pytest.approx(20, rel=0.15)
    assert len(read_crops(folder, MASKS.model_copy(update={"most": 1}), side=96, diameter=20)) == 2


def test_cells_are_found_where_no_mask_is_given_and_crops_are_taken_whole(folder):
    found = read_crops(folder, Source(files="plain*.png"), side=96, diameter=27)
    assert len(found) == 8
    whole = read_crops(folder, Source(files="crop*.png", cells="whole"), side=96, diameter=27)
    original = np.array(Image.open(folder / "crop0.png"))
    assert np.array_equal(whole[0, 16:80, 16:80], original)
    assert np.array_equal(whole[0], np.pad(original, 16, mode="reflect"))
    smaller = read_crops(folder, Source(files="crop0.png", cells="whole"), side=48, diameter=27)
    assert np.array_equal(smaller[0], original[8:56, 8:56])


def test_sources_that_are_not_there_or_no_crops(folder):
    with pytest.raises(NotFoundError, match=r"nothing\*"):
        read_crops(folder, Source(files="nothing*"), side=96, diameter=27)
    with pytest.raises(RecipeError, match="square"):
        read_crops(folder, Source(files="plain0.png", cells="whole"), side=96, diameter=27)


def test_hashes_name_each_file_once(folder):
    told = hashes(folder, [MASKS, Source(files="plain*"), Source(files="plain0*")])
    assert sorted(told) == ["fields.zip", "plain0.png", "plain1.png"]


def _settings(folder, **more):
    return {
        "data": str(folder),
        "sources": [{"files": "*.zip", "cells": "masks"}, {"files": "crop*.png", "cells": "whole", "share": 0.5}],
        "name": "small",
        "examples": 16,
        "network": {"widths": [4, 8], "depths": [1]},
        "projection": 8,
        **more,
    }


def test_validation_crops_are_never_drawn(folder):
    task = embed.build(embed.Settings.model_validate(_settings(folder)))
    kept = {crops[0].tobytes() for crops in task.crops}
    rng = np.random.default_rng(0)
    drawn = {task.example(0, rng)["crop"].tobytes() for _ in range(200)}
    assert not kept & drawn
    assert len(drawn) == 7 + 1


@pytest.mark.slow
def test_a_recipe_becomes_a_package_that_embeds(folder, tmp_path):
    recipe = {
        "task": "embed",
        "settings": _settings(folder),
        "train": {"epochs": 1, "batch_size": 8, "tensorboard": False, "precision": "fp32"},
    }
    told = training.train(recipe, tmp_path / "out", device="cpu")
    package = inference.find(str(tmp_path / "out" / "package"))
    assert set(told.metrics) == {"loss", "found"}
    assert package.settings["diameter_px"] == 27
    values = features.embed_crops(
        np.stack([crops[0, 16:80, 16:80] for crops in told_crops(folder)]), model=str(package.folder)
    )
    assert values.shape == (2, 10)
    assert np.isfinite(values).all()


def told_crops(folder):
    return embed.build(embed.Settings.model_validate(_settings(folder))).crops


def test_the_loss_teaches_views_to_find_their_partner(folder):
    torch.manual_seed(0)
    task = embed.build(embed.Settings.model_validate(_settings(folder)))
    network = task.network()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    batch = {"crop": torch.from_numpy(np.concatenate(task.crops)[:, None])}
    losses = []
    for _ in range(30):
        loss, _told = task.loss(network, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
