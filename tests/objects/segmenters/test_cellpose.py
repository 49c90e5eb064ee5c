"""The Cellpose adaptor: what it tells the package, and the package itself where it is installed."""

from __future__ import annotations

import pickle
import sys
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest

from phenostream import objects
from phenostream.errors import DamagedError, HostileError, MissingExtraError, NotFiniteError, NotFoundError, RecipeError
from phenostream.testing.segmenters import nuclei
from phenostream.values import Field

SCENE = nuclei(2)
REAL = find_spec("cellpose") is not None


class Network:
    made: list = []

    def __init__(self, **told):
        self.told, self.calls = told, []
        type(self).made.append(self)

    def eval(self, image, **told):
        self.calls.append((image, told))
        return SCENE.labels.astype(np.uint16), None, None


def checkpoint(path, value=1.0):
    """A file of one tensor, as PyTorch writes it."""
    torch = pytest.importorskip("torch")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"diam_mean": torch.tensor([value])}, path)
    return path


@pytest.fixture
def package(monkeypatch):
    """A stand-in for the package, of a version that the test chooses."""

    def install(version):
        network = type("Network", (Network,), {"made": []})
        module, models = ModuleType("cellpose"), ModuleType("cellpose.models")
        module.models, models.Cellpose, models.CellposeModel = models, network, network
        monkeypatch.setitem(sys.modules, "cellpose", module)
        monkeypatch.setitem(sys.modules, "cellpose.models", models)
        monkeypatch.setattr(metadata, "version", lambda name: version)
        objects.forget()
        return network

    yield install
    objects.forget()


def build(**told):
    return objects.build(objects.settings({"model": "cellpose", **told}))


def test_defaults_are_those_of_idrstream(package):
    network = package("3.1.1")
    segmenter = build()
    assert not network.made, "loaded before it was needed"
    for _ in range(2):
        found = segmenter.segment(Field.of(SCENE.image))
    (made,) = network.made
    assert made.told == {"gpu": False, "model_type": "cyto"}
    image, told = made.calls[1]
    assert np.array_equal(image, SCENE.image)
    assert told == {
        "channels": [0, 0],
        "diameter": None,
        "flow_threshold": 0.8,
        "cellprob_threshold": 0.0,
        "min_size": 15,
    }
    assert np.array_equal(found.labels, objects.remove_edge_objects(SCENE.labels))


def test_settings_are_passed_on(package, tmp_path):
    network = package("4.2.1")
    segmenter = build(weights=str(checkpoint(tmp_path / "weights")), diameter=30, flow_threshold=0, remove_edges=False)
    found = segmenter.segment(Field.of(SCENE.image))
    (made,) = network.made
    assert made.told == {"gpu": False, "pretrained_model": str(tmp_path / "weights")}
    assert made.calls[0][1] == {"diameter": 30, "flow_threshold": 0, "cellprob_threshold": 0, "min_size": 15}
    assert np.array_equal(found.labels, SCENE.labels)


def test_weights_are_known_by_content(package, tmp_path):
    package("3.1.1")
    one, two = tmp_path / "a" / "net", tmp_path / "b" / "net"
    checkpoint(one)
    two.parent.mkdir()
    two.write_bytes(one.read_bytes())
    same = build(weights=str(one)).digest, build(weights=str(two)).digest
    assert same[0] == same[1] != build().digest
    checkpoint(two, 2.0)
    assert build(weights=str(two)).digest != same[0], "the network of before was kept"


class Program:
    """What a pickle runs when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_weights_that_hold_code_are_refused_before_anything_is_loaded(package, tmp_path):
    torch = pytest.importorskip("torch")
    network = package("3.1.1")
    torch.save({"diam_mean": torch.ones(1), "more": Program(tmp_path / "ran")}, tmp_path / "weights")
    with pytest.raises(HostileError, match="exec"):
        build(weights=str(tmp_path / "weights"))
    (tmp_path / "pickle").write_bytes(pickle.dumps(Program(tmp_path / "ran")))
    with pytest.raises(DamagedError, match="no checkpoint"):
        build(weights=str(tmp_path / "pickle"))
    assert not network.made
    assert not (tmp_path / "ran").exists()


def test_the_version_is_part_of_the_digest(package):
    package("3.1.1")
    first = build().digest
    package("3.2.0")
    assert build().digest != first


def test_flat_and_broken_images_never_reach_the_network(package):
    network = package("3.1.1")
    segmenter = build()
    assert not segmenter.segment(Field.of(np.full((9, 9), 4))).labels.any()
    with pytest.raises(NotFiniteError):
        segmenter.segment(Field.of(np.full((9, 9), np.nan)))
    assert not network.made


def test_missing_weights_are_named(package, tmp_path):
    package("3.1.1")
    with pytest.raises(NotFoundError, match="nowhere"):
        build(weights=str(tmp_path / "nowhere"))


def test_cellpose_4_has_no_cyto(package):
    package("4.2.1")
    with pytest.raises(RecipeError, match=r"no longer has the network 'cyto'.*cellpose<4"):
        build()
    build(network="cpsam")


@pytest.mark.skipif(REAL, reason="cellpose is installed")
def test_absence_is_answered_with_the_command():
    objects.forget()
    with pytest.raises(MissingExtraError, match=r'pip install "phenostream\[cellpose\]"'):
        build()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not REAL, reason="cellpose is not installed; the extra `cellpose` brings it")
def test_the_package_itself_with_random_weights(tmp_path):
    """Cellpose takes the weights file, and what it finds comes through: a label image of its own shape."""
    import torch

    torch.manual_seed(0)
    if int(metadata.version("cellpose").split(".")[0]) >= 4:
        from cellpose import vit

        network = vit.CPSAM()
    else:
        from cellpose.resnet_torch import CPnet

        network = CPnet([2, 32, 64, 128, 256], nout=3, sz=3)
    torch.save(network.state_dict(), tmp_path / "random")
    segmenter = build(
        weights=str(tmp_path / "random"), diameter=20, flow_threshold=0, cellprob_threshold=-6, remove_edges=False
    )
    found = segmenter.segment(Field.of(SCENE.image))
    assert found.labels.shape == SCENE.image.shape
    assert np.array_equal(found.labels, objects.relabel(found.labels))
