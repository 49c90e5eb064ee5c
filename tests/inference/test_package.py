"""A package is its content: where it lies and when it was written do not matter, every byte does."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from phenostream import inference
from phenostream.errors import DamagedError, NotFoundError, TooLargeError, WrongShapeError
from phenostream.inference.limits import Limits
from phenostream.testing.packages import network, small_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> inference.Package:
    return small_package(tmp_path_factory.mktemp("models") / "small", levels=1)


def test_identity_is_content(package: inference.Package, tmp_path: Path) -> None:
    shutil.copytree(package.folder, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "notes.txt").write_text("no part of the package")
    again = inference.open_package(tmp_path / "elsewhere")
    assert again.sha256 == package.sha256 == small_package(tmp_path / "small", levels=1).sha256
    assert small_package(tmp_path / "two" / "small", levels=1, seed=1).sha256 != package.sha256
    text = (tmp_path / "elsewhere" / "rdf.yaml").read_text()
    (tmp_path / "elsewhere" / "rdf.yaml").write_text(text + "# said\n")
    assert inference.open_package(tmp_path / "elsewhere").sha256 != package.sha256


def test_identity_is_the_hash_of_sorted_names_and_hashes(package: inference.Package) -> None:
    files = sorted(path for path in package.folder.iterdir())
    listed = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
    assert {name for name, _ in listed} == set(package.files)
    content = json.dumps(sorted(listed), separators=(",", ":")).encode()
    assert hashlib.sha256(content).hexdigest() == package.sha256


def test_every_file_is_hashed(package: inference.Package) -> None:
    wanted = {"rdf.yaml", "model.onnx", "weights.safetensors", "test_input.npy", "test_output_map.npy",
              "test_output_coarse.npy", "training.json", "metrics.json", "LICENSE", "README.md"}  # fmt: skip
    assert set(package.files) == wanted == {path.name for path in package.folder.iterdir()}


def test_caps_are_kept(package: inference.Package) -> None:
    for limits in (Limits(description_bytes=10), Limits(onnx_bytes=10), Limits(file_bytes=10), Limits(files=2)):
        with pytest.raises(TooLargeError):
            inference.open_package(package.folder, limits=limits)


def test_folders_that_are_none_are_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotFoundError, match=r"rdf\.yaml"):
            inference.open_package(folder)


def _changed(package: inference.Package, folder: Path, change) -> Path:
    shutil.copytree(package.folder, folder)
    told = yaml.safe_load((folder / "rdf.yaml").read_text())
    change(told)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(told))
    return folder


def test_description_and_graph_must_agree(package: inference.Package, tmp_path: Path) -> None:
    def fewer(told) -> None:
        told["outputs"][0]["axes"][1]["channel_names"] = ["a"]

    def one_output(told) -> None:
        told["outputs"].pop()

    def flat(told) -> None:
        del told["outputs"][0]["axes"][2:]

    for place, change in enumerate((fewer, one_output, flat)):
        with pytest.raises(WrongShapeError):
            inference.open_package(_changed(package, tmp_path / str(place), change))


def test_descriptions_that_contradict_themselves_are_refused(package: inference.Package, tmp_path: Path) -> None:
    def two_hashes(told) -> None:
        told["attachments"].append({"source": "model.onnx", "sha256": "0" * 64})

    def itself(told) -> None:
        told["attachments"].append({"source": "rdf.yaml", "sha256": "0" * 64})

    def swapped(told) -> None:
        told["outputs"][0]["axes"][2:] = told["outputs"][0]["axes"][:1:-1]

    def no_hash(told) -> None:
        del told["weights"]["onnx"]["sha256"]

    def no_onnx(told) -> None:
        told["weights"] = {"torchscript": {"source": "x.pt"}}

    def offset(told) -> None:
        told["outputs"][0]["axes"][2]["size"]["offset"] = 2

    def minima(told) -> None:
        told["config"]["phenostream"]["minimum"] = [2]

    def referring(told) -> None:
        told["inputs"][0]["axes"][3]["size"] = {"tensor_id": "image", "axis_id": "y"}

    def named_twice(told) -> None:
        told["outputs"][1]["id"] = "map"

    changes = (two_hashes, itself, swapped, no_hash, no_onnx, offset, minima, referring, named_twice)
    for place, change in enumerate(changes):
        with pytest.raises(DamagedError):
            inference.open_package(_changed(package, tmp_path / str(place), change))


def test_the_coarse_grid_must_fit_the_stride(package: inference.Package, tmp_path: Path) -> None:
    def thirds(told) -> None:
        for axis in told["outputs"][1]["axes"][2:]:
            axis["scale"] = 3.0

    with pytest.raises(WrongShapeError, match="grid"):
        inference.load(_changed(package, tmp_path / "thirds", thirds))


def test_a_least_image_beyond_reason_is_refused_before_it_is_made(package: inference.Package, tmp_path: Path) -> None:
    def vast(told) -> None:
        told["config"]["phenostream"]["minimum"] = [2**20, 2**20]

    model = inference.load(_changed(package, tmp_path / "vast", vast))
    with pytest.raises(TooLargeError, match="no image of less than"):
        model.predict(np.zeros((1, 8, 8), np.uint8))


def test_a_graph_that_onnx_runtime_refuses_is_named(package: inference.Package, tmp_path: Path) -> None:
    import onnx

    model = onnx.load_model_from_string(network()[0])
    model.graph.node[0].op_type = "NoSuchOperator"

    def change(told) -> None:
        data = model.SerializeToString()
        (tmp_path / "broken" / "model.onnx").write_bytes(data)
        told["weights"]["onnx"]["sha256"] = hashlib.sha256(data).hexdigest()

    with pytest.raises(DamagedError, match="NoSuchOperator"):
        inference.load(_changed(package, tmp_path / "broken", change))
