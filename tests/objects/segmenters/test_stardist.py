"""The StarDist adaptor: what it tells the package, and the package itself where it is installed."""

from __future__ import annotations

import sys
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest

from phenostream import objects
from phenostream.errors import MissingExtraError, NotFoundError
from phenostream.testing.segmenters import nuclei
from phenostream.values import Field

SCENE = nuclei(2)
REAL = find_spec("stardist") is not None and find_spec("tensorflow") is not None


class Network:
    made: list = []

    def __init__(self, config, **told):
        self.told, self.calls = {"config": config, **told}, []
        type(self).made.append(self)

    @classmethod
    def from_pretrained(cls, name):
        return cls("pretrained", name=name)

    def predict_instances(self, image, **told):
        self.calls.append((image, told))
        return SCENE.labels, {}


@pytest.fixture
def package(monkeypatch):
    network = type("Network", (Network,), {"made": []})
    module, models = ModuleType("stardist"), ModuleType("stardist.models")
    module.models, models.StarDist2D = models, network
    monkeypatch.setitem(sys.modules, "stardist", module)
    monkeypatch.setitem(sys.modules, "stardist.models", models)
    monkeypatch.setattr(metadata, "version", lambda name: "0.9.2")
    objects.forget()
    yield network
    objects.forget()


def build(**told):
    return objects.build(objects.settings({"model": "stardist", **told}))


def test_defaults(package):
    segmenter = build()
    for _ in range(2):
        found = segmenter.segment(Field.of(SCENE.image))
    (made,) = package.made
    assert made.told == {"config": "pretrained", "name": "2D_versatile_fluo"}
    image, told = made.calls[0]
    low, high = np.percentile(SCENE.image, (1, 99.8))
    assert np.allclose(image, (SCENE.image - low) / (high - low))
    assert told == {"scale": None, "prob_thresh": None, "nms_thresh": None, "show_progress": False}
    assert np.array_equal(found.labels, SCENE.labels)


def test_settings_are_passed_on(package, tmp_path):
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    segmenter = build(weights=str(folder), scale=2, probability=0.4, overlap=0.3, remove_edges=True)
    found = segmenter.segment(Field.of(SCENE.image))
    (made,) = package.made
    assert made.told == {"config": None, "name": "mine", "basedir": str(tmp_path / "models")}
    assert made.calls[0][1] == {"scale": 2, "prob_thresh": 0.4, "nms_thresh": 0.3, "show_progress": False}
    assert np.array_equal(found.labels, objects.remove_edge_objects(SCENE.labels))
    before = segmenter.digest
    objects.forget()
    (folder / "config.json").write_text("{ }")
    assert build(weights=str(folder), scale=2, probability=0.4, overlap=0.3, remove_edges=True).digest != before


def test_missing_weights_are_named(package, tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        build(weights=str(tmp_path / "nowhere"))


@pytest.mark.skipif(find_spec("stardist") is not None, reason="stardist is installed")
def test_absence_is_answered_with_the_command():
    objects.forget()
    with pytest.raises(MissingExtraError, match=r'pip install "phenostream\[stardist\]"'):
        build()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not REAL, reason="stardist and tensorflow are not installed; the extra `stardist` brings them")
def test_the_package_itself_with_random_weights(tmp_path):
    from stardist.models import Config2D, StarDist2D

    network = StarDist2D(Config2D(n_rays=8, unet_n_depth=1), name="mine", basedir=str(tmp_path))
    network.keras_model.save_weights(str(tmp_path / "mine" / "weights_best.h5"))
    found = build(weights=str(tmp_path / "mine")).segment(Field.of(SCENE.image))
    assert np.array_equal(found.labels, objects.relabel(found.labels))
    assert found.labels.shape == SCENE.image.shape
