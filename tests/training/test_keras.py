"""Weights of Keras files: layouts of several generations, and files that are refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from phenostream.errors import DamagedError, HostileError, NotFoundError
from phenostream.training.keras import lay, read_layers

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)
DEEP = RNG.normal(size=(5, 5, 4, 1)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)
NORM = {
    name: RNG.uniform(0.5, 1.5, 4).astype(np.float32) for name in ("gamma", "beta", "moving_mean", "moving_variance")
}


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 4, 3)
        self.wise = torch.nn.Conv2d(4, 4, 5, groups=4, bias=False)
        self.norm = torch.nn.BatchNorm2d(4, eps=1e-3)


NAMES = {"a_conv": "conv", "a_dwconv": "wise", "a_bn": "norm"}
# Root group, what a layer's variables lie below, the depthwise kernel's name, and what ends each name.
LAYOUTS = {
    "keras 1 and 2": ("", "{layer}", "depthwise_kernel", ":0"),
    "renamed layers": ("", "{layer}_17", "depthwise_kernel", ":0"),
    "whole model": ("model_weights/", "{layer}", "depthwise_kernel", ":0"),
    "keras 3": ("model_weights/", "{layer}", "kernel", ""),
    "nested": ("model_weights/", "outer/{layer}", "kernel", ""),
}


def _write(path, layout):
    base, inner, deep, end = layout
    with h5py.File(path, "w") as file:
        for layer, variables in (
            ("a_conv", {"kernel": KERNEL, "bias": BIAS}),
            ("a_dwconv", {deep: DEEP}),
            ("a_bn", NORM),
        ):
            for name, value in variables.items():
                file[f"{base}{layer}/{inner.format(layer=layer)}/{name}{end}"] = value
    return path


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_gives_the_same_weights(tmp_path, layout):
    network = Small()
    lay(network, read_layers(_write(tmp_path / "w.h5", layout), NAMES), NAMES)
    told = network.state_dict()
    for out in range(4):
        assert np.array_equal(told["conv.weight"][out].numpy(), KERNEL[..., out].transpose(2, 0, 1))
        assert np.array_equal(told["wise.weight"][out, 0].numpy(), DEEP[:, :, out, 0])
    assert np.array_equal(told["conv.bias"], BIAS)
    for ours, theirs in (
        ("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"), ("running_var", "moving_variance"),
    ):  # fmt: skip
        assert np.array_equal(told[f"norm.{ours}"], NORM[theirs])


def test_layers_that_are_not_there_and_wrong_shapes(tmp_path):
    path = _write(tmp_path / "w.h5", LAYOUTS["keras 3"])
    layers = read_layers(path, [*NAMES, "b_conv"])
    assert "b_conv" not in layers
    with pytest.raises(NotFoundError, match="b_conv"):
        lay(Small(), layers, {"b_conv": "conv"})
    with pytest.raises(DamagedError, match="shape"):
        lay(Small(), {**layers, "a_conv": {"kernel": KERNEL[:2], "bias": BIAS}}, NAMES)
    with pytest.raises(NotFoundError, match="running_var"):
        lay(Small(), {**layers, "a_bn": {key: NORM[key] for key in ("gamma", "beta", "moving_mean")}}, NAMES)


def test_links_out_of_the_file_are_refused(tmp_path):
    other = _write(tmp_path / "other.h5", LAYOUTS["keras 3"])
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["model_weights/a_conv/a_conv/bias"] = BIAS
        file["model_weights/a_conv/a_conv/kernel"] = h5py.ExternalLink(
            str(other), "/model_weights/a_conv/a_conv/kernel"
        )
    with pytest.raises(HostileError, match="link"):
        read_layers(tmp_path / "w.h5", ["a_conv"])


def test_what_is_no_numbers_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a_conv/a_conv/kernel:0"] = np.full((1, 1, 2, 4), np.nan, np.float32)
        file["b_conv/b_conv/kernel:0"] = np.array([b"code"])
    for layer in ("a_conv", "b_conv"):
        with pytest.raises(DamagedError, match=layer):
            read_layers(tmp_path / "w.h5", [layer])
    (tmp_path / "pickle.h5").write_bytes(b"\x80\x04\x95not hdf5")
    with pytest.raises(DamagedError):
        read_layers(tmp_path / "pickle.h5", ["a_conv"])
    with pytest.raises(NotFoundError):
        read_layers(tmp_path / "nothing.h5", ["a_conv"])
