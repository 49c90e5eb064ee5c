"""The trained nuclei segmenter that ships: the exam, sizes, tiles, identity, and real nuclei."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from typing import ClassVar

import numpy as np
import pytest
import tifffile
import yaml
from safetensors.numpy import save
from skimage.transform import resize

from phenostream import inference, objects, segment
from phenostream.errors import ChangedError, NotFoundError, RecipeError, WrongShapeError
from phenostream.testing.packages import small_package
from phenostream.testing.segmenters import SegmenterExam, best_overlaps, nuclei
from phenostream.values import Field


class TestExam(SegmenterExam):
    settings: ClassVar = {"model": "nuclei", "threads": 1}


class TestExamWithDiameter(SegmenterExam):
    settings: ClassVar = {"model": "nuclei", "diameter": 21.5, "threads": 1}


def build(**told):
    return objects.build(objects.settings({"model": "nuclei", "threads": 1, **told}))


@pytest.mark.parametrize("diameter", [8, 14, 30, 60])
def test_magnifications(diameter):
    scene = nuclei(3, count=25, diameter=diameter, shape=(12 * diameter, 14 * diameter))
    overlaps = best_overlaps(scene.labels, segment(scene.image, "nuclei"))
    assert np.mean(overlaps > 0.6) >= 0.9


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (1, 40), (16, 16), (23, 7), (17, 300)])
def test_any_shape(shape):
    image = np.random.default_rng(0).poisson(20, shape).astype(np.uint16)
    assert segment(image, "nuclei").shape == shape


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_nothing(seed):
    image = np.random.default_rng(seed).poisson(30, (256, 256)).astype(np.uint16)
    assert segment(image, "nuclei").max() <= 1


def test_light_does_not_matter():
    scene = nuclei(4, count=30, shape=(300, 300))
    plain = scene.image.astype(float)
    ramp = np.add.outer(np.arange(300) * 0.2, np.arange(300) * 0.15)
    for image in (plain * 200 + 1000, plain / 1e6, plain + ramp, np.minimum(plain, 70), plain**1.3):
        assert np.mean(best_overlaps(scene.labels, segment(image, "nuclei")) > 0.6) >= 0.9


def test_tiles_change_nothing_that_counts():
    scene = nuclei(6, count=120, shape=(700, 800))
    whole = build(diameter=20, memory_mb=2000).segment(Field.of(scene.image)).labels
    tiled = build(diameter=20, memory_mb=120).segment(Field.of(scene.image)).labels
    assert tiled.max() == whole.max()
    assert np.mean(tiled != whole) < 1e-4


def test_identity_is_the_package(tmp_path):
    package = inference.find("nuclei")
    shutil.copytree(package.folder, tmp_path / "copy")
    assert build(package=str(tmp_path / "copy")).digest == build().digest
    assert build(diameter=20).digest != build().digest
    weights = tmp_path / "copy" / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    objects.forget()
    with pytest.raises(ChangedError, match=r"model\.onnx"):
        build(package=str(tmp_path / "copy"))
    with pytest.raises(NotFoundError, match="nowhere"):
        build(package="nowhere")


def changed(folder, *, settings=None, tensors=None):
    """A copy of the package that says other settings, or whose weights hold other tensors."""
    package = inference.find("nuclei")
    shutil.copytree(package.folder, folder)
    told = yaml.safe_load((folder / "rdf.yaml").read_text())
    told["config"]["phenostream"]["settings"].update(settings or {})
    if tensors is not None:
        weights = save({**inference.read_weights(package), **tensors})
        (folder / "weights.safetensors").write_bytes(weights)
        for file in (told["config"]["phenostream"]["weights"], *told["attachments"]):
            if file["source"] == "weights.safetensors":
                file["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "rdf.yaml").write_text(yaml.safe_dump(told))
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"diameter_px": None}, "diameter_px is None"),
        ({"diameter_px": -3}, "diameter_px is -3"),
        ({"rule": {"foreground": 0.5}}, "rule is"),
        ({"rule": None}, "rule is None"),
        ({"percentiles": [0.0, 100.0]}, "percentiles"),
    ],
)
def test_a_package_that_does_not_say_how_it_is_used_is_named(tmp_path, settings, words):
    with pytest.raises(RecipeError, match=f"does not segment.*{words}.*phenostream train"):
        build(package=changed(tmp_path / "other", settings=settings))


def test_packages_of_another_kind_are_named(tmp_path):
    with pytest.raises(RecipeError, match=r"cellnet does not segment.*embedding \(\d+\), not maps"):
        build(package="cellnet")
    with pytest.raises(RecipeError, match=r"map \(2\), coarse \(3\), not maps"):
        build(package=str(small_package(tmp_path / "small").folder))
    with pytest.raises(RecipeError, match="2 channels"):
        build(package=str(small_package(tmp_path / "two", channels=2).folder))
    with pytest.raises(RecipeError, match="czyx"):
        build(package=str(small_package(tmp_path / "deep", axes="zyx").folder))


def test_a_judge_of_other_facts_is_not_left_out_in_silence(tmp_path):
    package = changed(tmp_path / "other", tensors={"judge.middle": np.zeros(31, np.float32)})
    with pytest.raises(WrongShapeError, match=r"30 facts.*\(31,\).*train the package again"):
        build(package=package)


def test_a_package_trained_again_into_the_same_folder_is_taken(tmp_path):
    package = changed(tmp_path / "mine")
    first = build(package=package)
    assert build(package=package) is first
    shutil.rmtree(package)
    changed(tmp_path / "mine", settings={"diameter_px": 12.0})
    second = build(package=package)
    assert second.digest != first.digest
    scene = nuclei(2)
    fresh = shutil.copytree(package, tmp_path / "elsewhere")
    expected = build(package=str(fresh)).segment(Field.of(scene.image)).labels
    assert np.array_equal(second.segment(Field.of(scene.image)).labels, expected)


def test_another_device_is_another_identity():
    assert build(device="cpu").digest == build().digest
    assert len({build(device=device).digest for device in ("cpu", "auto", "cuda")}) == 3
    assert build(threads=3).digest == build().digest


def test_the_network_computes_where_it_is_told(monkeypatch):
    asked = []

    def load(package, **told):
        asked.append(told)
        raise KeyboardInterrupt

    monkeypatch.setattr(inference, "load", load)
    objects.forget()
    for told in ({}, {"device": "cuda", "threads": 3}):
        with pytest.raises(KeyboardInterrupt):
            build(**told).segment(Field.of(nuclei(0).image))
    assert asked == [{"device": "cpu", "threads": 1}, {"device": "cuda", "threads": 3}]


def test_memory_grows_with_the_image_and_with_the_scale():
    small, large = (build(diameter=16, memory_mb=200).memory((side, side)) for side in (100, 2000))
    weights = 3 * (inference.find("nuclei").folder / "model.onnx").stat().st_size
    assert weights < small < 60e6
    assert 200e6 < large - weights < 200e6 + 75 * 2000**2
    assert build(memory_mb=200).memory((2000, 2000)) > large + 200 * 2000**2  # it may have to be enlarged three times


def test_the_package_is_small_and_tells_where_it_comes_from():
    package = inference.find("nuclei")
    assert sum(file.stat().st_size for file in package.folder.iterdir()) < 12e6
    assert package.settings["diameter_px"] > 0
    assert len(package.settings["rule"]) == 6


@pytest.fixture(scope="module")
def real(data):
    """Every fifteenth of the real images. The shipped network knows them: this is no figure, but a floor."""
    found = {}
    for path in sorted((data / "nuclei").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".tif"):
                    kind, stem = name.split("/")[-2:]
                    found.setdefault(stem, {})[kind] = (path, name)
    pictures = []
    for _, pair in sorted(found.items())[::15]:
        both = []
        for path, name in (pair["images"], pair["masks"]):
            with zipfile.ZipFile(path) as archive:
                both.append(tifffile.imread(io.BytesIO(archive.read(name))))
        pictures.append(both)
    return pictures


def share_found(pictures, change):
    hits = total = 0
    for image, truth in pictures:
        overlaps = best_overlaps(truth, segment(change(image), "nuclei"))
        hits, total = hits + int((overlaps > 0.5).sum()), total + overlaps.size
    return hits / total


@pytest.mark.slow
def test_real_nuclei(real):
    assert share_found(real, lambda image: image) > 0.85
    assert share_found(real, lambda image: (200.0 * image + 1000).astype(np.uint16)) > 0.85


@pytest.mark.slow
def test_real_nuclei_twice_the_size(real):
    def twice(array, order):
        shape = [2 * side for side in array.shape]
        return resize(array.astype(float), shape, order=order, anti_aliasing=False, preserve_range=True)

    larger = [(twice(image, 1), twice(truth, 0).astype(np.int32)) for image, truth in real]
    assert share_found(larger, lambda image: image) > 0.8
