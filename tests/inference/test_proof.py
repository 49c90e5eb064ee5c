"""A package that no longer does what it did is told so, with figures."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from phenostream import inference
from phenostream.errors import DamagedError
from phenostream.testing.packages import small_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> inference.Package:
    return small_package(tmp_path_factory.mktemp("models") / "small", levels=1)


def _with_file(package: inference.Package, folder: Path, name: str, data: bytes) -> inference.Package:
    """The package with another file, hashed honestly."""
    shutil.copytree(package.folder, folder)
    (folder / name).write_bytes(data)
    text = (folder / "rdf.yaml").read_text().replace(package.files[name], hashlib.sha256(data).hexdigest())
    (folder / "rdf.yaml").write_text(text)
    return inference.open_package(folder)


def _npy(array: Any, **named: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **named)
    return stream.getvalue()


def test_an_honest_package_passes_everything(package: inference.Package) -> None:
    checks = {one.name: one.state for one in inference.prove(package, device="cpu", threads=1)}
    assert checks == {"output map": "passed", "output coarse": "passed", "tiles": "passed", "weights": "passed"}


def test_other_outputs_fail_with_how_far_they_are(package: inference.Package, tmp_path: Path) -> None:
    expected = np.load(package.folder / "test_output_map.npy")
    expected[0, 1, 3, 4] += 1
    told = inference.prove(_with_file(package, tmp_path / "a", "test_output_map.npy", _npy(expected)), threads=1)
    assert [one.state for one in told] == ["failed", "passed", "passed", "passed"]
    assert "1.0e+00 apart" in told[0].detail
    other = inference.prove(
        _with_file(package, tmp_path / "b", "test_output_map.npy", _npy(expected[:, :1])), threads=1
    )
    assert other[0].state == "failed"


def test_a_halo_that_is_too_small_fails(package: inference.Package, tmp_path: Path) -> None:
    shutil.copytree(package.folder, tmp_path / "liar")
    told = yaml.safe_load((tmp_path / "liar" / "rdf.yaml").read_text())
    for tensor in told["outputs"]:
        for axis in tensor["axes"][2:]:
            axis["halo"] = 1
    (tmp_path / "liar" / "rdf.yaml").write_text(yaml.safe_dump(told))
    checks = {one.name: one.state for one in inference.prove(inference.open_package(tmp_path / "liar"), threads=1)}
    assert checks["tiles"] == "failed"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no array",
        _npy(np.array([{"a": 1}], object), allow_pickle=True),
        _npy(np.zeros((1, 1, 8, 8)))[:-8],
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 9999999999), }".ljust(117)
        + b"\n",
    ],
)
def test_test_tensors_that_are_none_are_refused(package: inference.Package, tmp_path: Path, data: bytes) -> None:
    wrong = _with_file(package, tmp_path / "wrong", "test_input.npy", data)
    with pytest.raises(DamagedError, match=r"test_input\.npy"):
        inference.prove(wrong)


def test_weights_that_are_none_are_refused(package: inference.Package, tmp_path: Path) -> None:
    wrong = _with_file(package, tmp_path / "wrong", "weights.safetensors", b"\xff" * 40)
    with pytest.raises(DamagedError, match=r"weights\.safetensors"):
        inference.read_weights(wrong)
