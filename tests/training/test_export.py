from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from phenostream.errors import MissingExtraError, StepError
from phenostream.inference import Image, Output, prove
from phenostream.training import to_onnx
from phenostream.training.export import licence_text, write_network


class Net(nn.Module):
    """Normalisation inside, two scales, two outputs: what the product's networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(1, 4, 3, padding=1)
        self.coarse = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, image):
        image = (image - image.mean((1, 2, 3), keepdim=True)) / (image.std((1, 2, 3), keepdim=True) + 1e-6)
        fine = functional.relu(self.fine(image))
        coarse = self.coarse(fine)
        up = functional.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.head(torch.cat([fine, up], 1)), coarse.mean((2, 3))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="module")
def graph(net: Net) -> bytes:
    free = {"image": {0: "batch", 2: "y", 3: "x"}}
    return to_onnx(net, [torch.rand(1, 1, 32, 32)], outputs=["map", "vector"], dynamic=free)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (3, 1, 40, 56), (2, 1, 33, 47), (1, 1, 8, 128)])
def test_the_graph_answers_as_the_network(shape: tuple[int, ...], net: Net, graph: bytes) -> None:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = net.eval()(image)
    for mine, theirs in zip(session.run(None, {"image": image.numpy()}), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-5)


def test_names_and_axes_are_those_that_were_asked_for(graph: bytes) -> None:
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    (image,) = model.graph.input
    assert [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim] == ["batch", 1, "y", "x"]
    assert [one.name for one in model.graph.output] == ["map", "vector"]
    assert not any(one.external_data for one in model.graph.initializer)


def test_without_free_axes_the_shape_is_fixed_and_nobody_chatters(net: Net, capfd: pytest.CaptureFixture[str]) -> None:
    model = onnx.load_from_string(to_onnx(net, [torch.rand(2, 1, 16, 16)], outputs=["map", "vector"]))
    assert [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim] == [2, 1, 16, 16]
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_answers_otherwise_is_not_handed_out(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    from phenostream.training import export

    honest = export._export

    def forge(network, *words):
        with torch.no_grad():
            network.head.bias += 1
        try:
            return honest(network, *words)
        finally:
            with torch.no_grad():
                network.head.bias -= 1

    monkeypatch.setattr(export, "_export", forge)
    with pytest.raises(StepError, match="differs from the network"):
        to_onnx(net, [torch.rand(2, 1, 16, 16)], outputs=["map", "vector"])


def test_without_onnx_the_extra_is_named(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_words: object, **_more: object) -> None:
        raise ModuleNotFoundError(name="onnxscript")

    monkeypatch.setattr(torch.onnx, "export", missing)
    with pytest.raises(MissingExtraError, match="onnxscript is not installed") as told:
        to_onnx(net, [torch.rand(2, 1, 16, 16)], outputs=["map", "vector"])
    assert told.value.remedy == 'pip install "phenostream[train]"'


def test_no_path_of_this_machine_is_in_the_graph(net: Net, graph: bytes) -> None:
    again = to_onnx(net, [torch.rand(1, 1, 8, 8)], outputs=("mask", "level"))
    for each in (graph, again):
        assert b".py" not in each
        assert __file__.rpartition("/")[0].encode() not in each


def test_a_package_holds_the_graph_the_weights_and_the_answer(net: Net, tmp_path: Path) -> None:
    test = np.random.default_rng(0).random((2, 1, 16, 16), dtype=np.float32)
    halved = {name: value.half() if value.ndim > 1 else value for name, value in net.state_dict().items()}
    package = write_network(
        net.eval(), tmp_path / "net", test=test,
        outputs=[Output("map", ["a", "b"]), Output("vector", "wxyz", ratio=None)],
        dynamic={0: "n", 2: "y", 3: "x"}, weights=halved, name="net", description="A map and a vector of an image.",
        image=Image(["DNA"], stride=2), training={}, metrics={},
    )  # fmt: skip
    assert load_file(package.folder / "weights.safetensors")["head.weight"].dtype == torch.float16
    assert all(check.state != "failed" for check in prove(package))


def test_the_licence_of_the_data_is_written_where_it_wants_something_said() -> None:
    assert licence_text("CC-BY-4.0", "") == ""
    assert licence_text("CC-BY-4.0", "By Them") == "SPDX-License-Identifier: CC-BY-4.0\n\nBy Them\n"
