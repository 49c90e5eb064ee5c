from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from phenostream.errors import DamagedError, DiskFullError
from phenostream.training import checkpoints


def same(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return left == right and type(left) is type(right)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(),
    st.sampled_from([torch.arange(6).reshape(2, 3), torch.ones((), dtype=torch.bfloat16), torch.zeros(0, 4)]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(tree=TREES)
def test_any_tree_comes_back_as_it_was(tree: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("tree") / "one.safetensors"
    checkpoints.write(path, {"tree": tree})
    assert same(checkpoints.read(path)["tree"], tree)


def test_an_optimizer_comes_back(tmp_path: Path) -> None:
    network = torch.nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 1, 5, 5)).sum().backward()
    optimizer.step()
    checkpoints.write(tmp_path / "one.safetensors", {"optimizer": optimizer.state_dict()})
    assert same(checkpoints.read(tmp_path / "one.safetensors")["optimizer"], optimizer.state_dict())


def test_tied_weights_are_kept(tmp_path: Path) -> None:
    weight = torch.arange(4.0)
    checkpoints.write(tmp_path / "one.safetensors", {"a": weight, "b": weight, "c": weight[1:]})
    assert same(checkpoints.read(tmp_path / "one.safetensors"), {"a": weight, "b": weight, "c": weight[1:]})


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 1000):
        checkpoints.save(tmp_path, step, {"step": step})
    assert [path.name for path in checkpoints.paths(tmp_path)] == [
        "step-000000015.safetensors", "step-000001000.safetensors",
    ]  # fmt: skip
    assert checkpoints.latest(tmp_path) == {"step": 1000}
    assert checkpoints.latest(tmp_path / "none") is None


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, -1])
def test_a_truncated_file_is_refused(kept: int, tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 1, {"weights": torch.ones(50)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedError, match=path.name) as told:
        checkpoints.latest(tmp_path)
    assert f"delete {path.name}" in told.value.remedy


def test_a_changed_bit_is_refused(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 1, {"weights": torch.ones(50)})
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="does not hold the tensors"):
        checkpoints.latest(tmp_path)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    save_file({"weights": torch.ones(3)}, tmp_path / "step-000000001.safetensors")
    with pytest.raises(DamagedError, match="not a whole checkpoint"):
        checkpoints.latest(tmp_path)
    torch.save({"weights": np.ones(3)}, tmp_path / "step-000000002.safetensors")
    with pytest.raises(DamagedError, match="not a whole checkpoint"):
        checkpoints.latest(tmp_path)


@pytest.mark.parametrize("message", ["I/O error: No space left on device (os error 28)"])
def test_a_full_disk_is_named_and_loses_nothing(message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(tmp_path, 1, {"step": 1})

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise checkpoints.SafetensorError(message)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(DiskFullError) as told:
        checkpoints.save(tmp_path, 2, {"step": 2})
    assert told.value.__cause__.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.safetensors"]
    assert checkpoints.latest(tmp_path) == {"step": 1}
