"""Nobody can write what nobody could open, and a package appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from phenostream import inference
from phenostream.errors import DamagedError, DiskFullError, ExistsError, HostileError, RecipeError, WrongShapeError
from phenostream.testing.packages import network, small_package


def _write(folder: Path, **changes: Any) -> inference.Package:
    onnx, halo = network(kernel=3)
    given = np.zeros((1, 1, 16, 16), np.float32)
    named: dict[str, Any] = {
        "name": "small", "description": "Small.", "onnx": onnx, "weights": {"a": np.arange(3.0)},
        "image": inference.Image(["DNA"], pixel_size_um=0.5),
        "outputs": [inference.Output("map", "ab", halo), inference.Output("coarse", "abc", halo)],
        "test_input": given,
        "test_output": {"map": np.ones((1, 2, 16, 16), np.float32), "coarse": np.ones((1, 3, 16, 16), np.float32)},
        "training": {"data": {"a.tif": "0" * 64}}, "metrics": {"ap": 0.9}, "settings": {"diameter": 20},
    }  # fmt: skip
    return inference.write_package(folder, **{**named, **changes})


def test_what_was_said_is_there(tmp_path: Path) -> None:
    package = _write(tmp_path / "small", licence="CC-BY-4.0", version="2.1", authors=["A. Nobody"], tags=["nuclei"])
    told = package.description
    assert (told.license, told.version, told.authors, told.tags) == (
        "CC-BY-4.0",
        "2.1",
        ({"name": "A. Nobody"},),
        ("nuclei",),
    )
    assert [(axis.scale, axis.unit) for axis in told.input.space] == [(0.5, "micrometer")] * 2
    assert package.settings == {"diameter": 20}
    np.testing.assert_array_equal(load_file(package.folder / "weights.safetensors")["a"], np.arange(3.0))
    np.testing.assert_array_equal(inference.read_weights(package)["a"], np.arange(3.0))


def test_the_same_is_written_the_same(tmp_path: Path) -> None:
    assert _write(tmp_path / "a").sha256 == _write(tmp_path / "b").sha256


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "../small"}, RecipeError),
        ({"onnx": b"\x3a\x00"}, DamagedError),
        ({"image": inference.Image(["DNA", "ER"])}, WrongShapeError),
        ({"image": inference.Image(["DNA"], "zyx")}, WrongShapeError),
        ({"image": inference.Image(["DNA"], stride=5)}, WrongShapeError),
        ({"test_input": np.zeros((1, 1, 4, 4), np.float32)}, WrongShapeError),
        ({"test_output": {"map": np.zeros((1, 2, 16, 16))}}, WrongShapeError),
        ({"outputs": [inference.Output("map", "abc", 2), inference.Output("coarse", "abc", 2)]}, WrongShapeError),
        ({"metrics": {"ap": float("nan")}}, ValueError),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_left(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        _write(tmp_path / "small", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_with_outside_data_cannot_be_written(tmp_path: Path) -> None:
    import onnx

    model = onnx.load_model_from_string(network(kernel=3)[0])
    onnx.external_data_helper.convert_model_to_external_data(model, size_threshold=0)
    for tensor in model.graph.initializer:
        tensor.data_location = 1
    with pytest.raises(HostileError, match="outside"):
        _write(tmp_path / "small", onnx=model.SerializeToString())


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    first = _write(tmp_path / "small")
    with pytest.raises(ExistsError):
        _write(tmp_path / "small")
    second = _write(tmp_path / "small", version="2.0", replace=True)
    assert first.sha256 != second.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_full_disk_is_named_and_the_old_package_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _write(tmp_path / "small")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="No space"):
        _write(tmp_path / "small", version="2.0", replace=True)
    assert inference.open_package(tmp_path / "small").sha256 == first.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_swap_that_fails_puts_the_old_package_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = small_package(tmp_path / "small")
    rename, calls = Path.rename, []

    def once_only(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", once_only)
    with pytest.raises(DiskFullError):
        _write(tmp_path / "small", replace=True)
    assert inference.open_package(tmp_path / "small").sha256 == first.sha256
