"""Predictions: PyTorch and ONNX Runtime itself are the witnesses; tiles give what the whole gives."""

from __future__ import annotations

import io
import threading
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from phenostream import inference
from phenostream.errors import (
    ChangedError,
    EmptyError,
    NotFiniteError,
    OverBudgetError,
    RecipeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.testing.packages import small_package

torch = pytest.importorskip("torch")


class _UNet(torch.nn.Module):
    """Two levels, strided convolutions down, bilinear up, skips, normalisation by constants; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        conv = lambda given, gives, **named: torch.nn.Conv2d(given, gives, 3, padding=1, **named)  # noqa: E731
        self.first, self.down, self.deep = conv(2, 6), conv(6, 8, stride=2), conv(8, 12, stride=2)
        self.middle, self.up, self.last = conv(12, 12), conv(20, 8), conv(14, 3)
        self.norm = torch.nn.BatchNorm2d(8)

    def forward(self, image: Any) -> Any:
        grow = lambda one: torch.nn.functional.interpolate(one, scale_factor=2, mode="bilinear", align_corners=False)  # noqa: E731
        first = torch.relu(self.first((image - 100.0) / 50.0))
        down = torch.relu(self.norm(self.down(first)))
        up = torch.relu(self.up(torch.cat([grow(torch.relu(self.middle(self.deep(down)))), down], 1)))
        return self.last(torch.cat([grow(up), first], 1)), torch.sigmoid(up)


@pytest.fixture(scope="module")
def network() -> Any:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    return _UNet().eval()


@pytest.fixture(scope="module")
def unet(network: Any, tmp_path_factory: pytest.TempPathFactory) -> inference.Package:
    stream = io.BytesIO()
    axes = {name: {0: "n", 2: "y", 3: "x"} for name in ("image", "map", "half")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 2, 64, 64),), stream, dynamo=False, input_names=["image"],
                          output_names=["map", "half"], dynamic_axes=axes)  # fmt: skip
    given = np.random.default_rng(0).integers(0, 400, (1, 2, 64, 64)).astype(np.float32)
    outputs = [one.detach().numpy() for one in network(torch.from_numpy(given))]
    return inference.write_package(
        tmp_path_factory.mktemp("models") / "unet",
        name="unet",
        description="A U-Net.",
        onnx=stream.getvalue(),
        weights={key: value.numpy() for key, value in network.state_dict().items()},
        image=inference.Image(["DNA", "ER"], stride=4),
        outputs=[inference.Output("map", "abc", halo=20), inference.Output("half", "abcdefgh", 20, Fraction(1, 2))],
        test_input=given,
        test_output=dict(zip(("map", "half"), outputs, strict=True)),
        training={"seed": 3},
        metrics={},
        settings={"diameter": 17.5},
    )


@pytest.fixture(scope="module")
def model(unet: inference.Package) -> inference.Model:
    return inference.load(unet, threads=1)


def _image(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)


def test_the_whole_is_what_pytorch_says(network: Any, model: inference.Model) -> None:
    image = _image((2, 64, 96))
    expected = network(torch.from_numpy(image[None].astype(np.float32)))
    for found, one in zip(model.predict(image).values(), expected, strict=True):
        np.testing.assert_allclose(found, one[0].detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "int16", ">u2"])
@pytest.mark.parametrize("tile", [72, 100, (64, 128)])
def test_tiles_equal_the_whole(model: inference.Model, dtype: str, tile: Any) -> None:
    image = _image((2, 163, 217), dtype)
    whole = model.predict(image, tile=(400, 400))
    for overlap in (0, 8):
        cut = model.predict(image, tile=tile, overlap=overlap)
        for name, one in whole.items():
            np.testing.assert_allclose(cut[name], one, rtol=0, atol=1e-4)
    assert whole["map"].shape == (3, 163, 217)
    assert whole["half"].shape == (8, 82, 109)


def test_padding_is_reflection_and_is_cropped(model: inference.Model) -> None:
    image = _image((2, 61, 67))
    padded = np.pad(image, [(0, 0), (0, 3), (0, 1)], mode="reflect")
    np.testing.assert_array_equal(model.predict(image)["map"], model.predict(padded)["map"][:, :61, :67])


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 70), (2, 3, 5)])
def test_tiny_images_are_predicted(model: inference.Model, shape: tuple[int, ...]) -> None:
    found = model.predict(_image(shape))
    assert found["map"].shape == (3, *shape[1:])
    assert np.isfinite(found["map"]).all()


def test_a_cap_on_memory_cuts_and_changes_nothing(model: inference.Model) -> None:
    image = _image((2, 500, 700))
    whole, capped = model.predict(image), model.predict(image, memory_mb=30)
    assert model._affordable((500, 700), 30, 16) != (500, 700)
    assert model._affordable((500, 700), 1024, 16) == (500, 700)
    for name, one in whole.items():
        np.testing.assert_allclose(capped[name], one, rtol=0, atol=1e-4)
    with pytest.raises(OverBudgetError, match="give memory_mb"):
        model.predict(image, memory_mb=0.5)


def test_images_and_results_may_lie_on_the_disk(model: inference.Model, tmp_path: Path) -> None:
    image = _image((2, 210, 190))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = file.create_dataset("image", data=image)
        out = {"map": file.create_dataset("map", (3, 210, 190), "f4", fillvalue=np.nan)}
        found = model.predict(stored, tile=96, out=out)
        assert found["map"] is out["map"]
        np.testing.assert_allclose(out["map"][...], model.predict(image)["map"], atol=1e-4)
    whole = {"half": np.full((8, 105, 95), np.nan, np.float32)}
    model.predict(image, out=whole)
    np.testing.assert_allclose(whole["half"], found["half"], atol=1e-4)
    with pytest.raises(WrongShapeError, match="out"):
        model.predict(image, out={"map": np.empty((3, 5, 5), np.float32)})


def test_only_windows_of_an_image_are_read(model: inference.Model) -> None:
    read = []

    class Image:
        shape, dtype = (2, 400, 400), np.dtype("uint8")

        def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
            read.append([one.stop - one.start for one in place[1:]])
            return np.zeros([2, *read[-1]], np.uint8)

    model.predict(Image(), tile=128)
    assert len(read) > 4
    assert max(map(max, read)) <= 128


def test_many_images_give_what_each_gives(model: inference.Model) -> None:
    shapes = [(2, 64, 64)] * 5 + [(2, 50, 70)] * 2 + [(2, 64, 64)]
    images = [_image(shape, seed=place) for place, shape in enumerate(shapes)]
    for found, image in zip(model.predict_many(iter(images), batch_size=3), images, strict=True):
        for name, one in model.predict(image).items():
            np.testing.assert_allclose(found[name], one, rtol=0, atol=1e-5)


def test_many_images_are_taken_one_batch_at_a_time(model: inference.Model) -> None:
    taken = []
    images = (taken.append(place) or _image((2, 32, 32)) for place in range(100))
    results = model.predict_many(images, batch_size=4)
    next(results)
    assert len(taken) == 4


def test_batches_are_chunked(model: inference.Model, network: Any) -> None:
    images = _image((7, 2, 32, 32), "float32")
    expected = network(torch.from_numpy(images))
    for place, name in enumerate(("map", "half")):
        found = model.batch(images, output=name, batch_size=3)
        np.testing.assert_allclose(found, expected[place].detach().numpy(), atol=1e-4)
    with pytest.raises(RecipeError, match="no output 'none'"):
        model.batch(images, output="none")


def test_what_does_not_fit_is_refused(model: inference.Model) -> None:
    for shape in ((3, 64, 64), (1, 64, 64), (64, 64), (2, 4, 64, 64)):
        with pytest.raises(WrongShapeError, match="DNA, ER"):
            model.predict(_image(shape))
    with pytest.raises(WrongShapeError):
        model.batch(_image((2, 64, 64)))
    with pytest.raises(EmptyError):
        model.predict(_image((2, 0, 64)))
    for wrong in (np.zeros((2, 8, 8), complex), np.zeros((2, 8, 8), bool), np.full((2, 8, 8), "x")):
        with pytest.raises(WrongDtypeError):
            model.predict(wrong)
    image = _image((2, 300, 300), "float32")
    image[1, 290, 3] = np.inf
    with pytest.raises(NotFiniteError):
        model.predict(image, tile=96)
    for bad in ({"tile": 0}, {"tile": (64,)}, {"tile": 40, "overlap": 64}, {"overlap": -1}):
        with pytest.raises((WrongShapeError, RecipeError)):
            model.predict(_image((2, 300, 300)), **bad)


def test_a_model_is_known_by_its_words(model: inference.Model, unet: inference.Package) -> None:
    assert repr(model) == "Model('unet', device='cpu')"
    assert (unet.channels, unet.axes, unet.outputs) == (("DNA", "ER"), "cyx", ("map", "half"))
    assert unet.settings == {"diameter": 17.5}
    with pytest.raises(RecipeError, match="threads"):
        inference.load(unet, threads=0)
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(RecipeError, match="CUDA"):
            inference.load(unet, device="cuda")


def test_threads_may_share_a_model(model: inference.Model) -> None:
    image = _image((2, 130, 130))
    expected, found = model.predict(image)["map"], []
    workers = [threading.Thread(target=lambda: found.append(model.predict(image, tile=100)["map"])) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    for one in found:
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_a_file_that_changes_between_finding_and_loading_is_refused(tmp_path: Path) -> None:
    package = small_package(tmp_path / "small")
    data = (package.folder / "model.onnx").read_bytes()
    (package.folder / "model.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ChangedError):
        inference.load(package)


def test_bits_do_not_depend_on_the_batch_for_convolutions(model: inference.Model) -> None:
    images = _image((9, 2, 64, 64), "float32")
    alone = np.concatenate([model.batch(one[None]) for one in images])
    for size in (2, 4, 9):
        np.testing.assert_array_equal(model.batch(images, batch_size=size), alone)


def _pooled(
    folder: Path, *, size: int | None = None, batch: int | str = "n", dtype: int = TensorProto.FLOAT
) -> inference.Package:
    """Mean and maximum over the whole image: an output without space, and one that cannot be cut."""
    space = [size or "y", size or "x"]
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["f"], ["m"]),
        helper.make_node("Flatten", ["m"], ["mean"]),
        helper.make_node("Sub", ["f", "m"], ["flat"]),
    ]
    values = [helper.make_tensor_value_info("image", dtype, [batch, 3, *space]),
              helper.make_tensor_value_info("mean", TensorProto.FLOAT, [batch, 3]),
              helper.make_tensor_value_info("flat", TensorProto.FLOAT, [batch, 3, *space])]  # fmt: skip
    graph = helper.make_graph(nodes, "pooled", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    given = np.random.default_rng(0).integers(0, 200, (1, 3, 16, 16)).astype(helper.tensor_dtype_to_np_dtype(dtype))
    mean = given.astype(np.float32).mean((2, 3))
    return inference.write_package(
        folder, name="pooled", description="The mean.", onnx=model.SerializeToString(), weights={"none": np.zeros(1)},
        image=inference.Image("rgb", size=size),
        outputs=[inference.Output("mean", "rgb", ratio=None), inference.Output("flat", "rgb")],
        test_input=given, test_output={"mean": mean, "flat": given - mean[..., None, None]}, training={}, metrics={},
    )  # fmt: skip


def test_models_of_the_whole_image_are_never_cut(tmp_path: Path) -> None:
    model = inference.load(_pooled(tmp_path / "pooled"), threads=1)
    image = _image((3, 200, 300))
    found = model.predict(image)
    np.testing.assert_allclose(found["mean"], image.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["flat"], image - image.mean((1, 2), keepdims=True), atol=1e-3)
    with pytest.raises(WrongShapeError, match="whole image"):
        model.predict(image, tile=64)
    with pytest.raises(OverBudgetError, match="cannot be cut"):
        model.predict(image, memory_mb=1)
    batch = _image((4, 3, 20, 20))
    np.testing.assert_allclose(model.batch(batch, output="mean"), batch.mean((2, 3)), rtol=1e-5)
    assert model.batch(batch[:0], output="mean").shape == (0, 3)
    with pytest.raises(EmptyError):
        model.batch(batch[:0], output="flat")


def test_fixed_sizes_batches_of_one_and_integers_are_kept_to(tmp_path: Path) -> None:
    model = inference.load(_pooled(tmp_path / "pooled", size=16, batch=1, dtype=TensorProto.UINT8), threads=1)
    batch = _image((5, 3, 16, 16), "uint8")
    np.testing.assert_allclose(model.batch(batch), batch.mean((2, 3)), rtol=1e-5)
    assert model.predict(batch[0, :, :9, :11])["flat"].shape == (3, 9, 11)
    with pytest.raises(WrongDtypeError, match="uint8"):
        model.batch(batch.astype(np.uint16))
    with pytest.raises(WrongShapeError):
        model.batch(_image((5, 3, 20, 20), "uint8"))
    with pytest.raises(WrongShapeError, match="whole image"):
        model.predict(_image((3, 20, 20), "uint8"))


def test_many_images_that_a_fixed_size_does_not_take_fare_as_one_does(tmp_path: Path) -> None:
    model = inference.load(_pooled(tmp_path / "pooled", size=16), threads=1)
    images = _image((3, 3, 16, 12))
    for image, found in zip(images, model.predict_many(images), strict=True):
        np.testing.assert_array_equal(found["flat"], model.predict(image)["flat"])
    with pytest.raises(WrongShapeError, match="whole image"):
        list(model.predict_many(_image((2, 3, 20, 20))))


def test_values_beyond_the_type_of_the_graph_are_refused(tmp_path: Path) -> None:
    model = inference.load(_pooled(tmp_path / "pooled"), threads=1)
    with pytest.raises(NotFiniteError, match=r"beyond 3\.40282e\+38"):
        model.predict(np.full((3, 16, 16), 1e300))


def test_classes_are_laid_not_blended(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["image", "level"], ["both"], axis=1),
        helper.make_node("ArgMax", ["both"], ["class"], axis=1, keepdims=1),
        helper.make_node("Mul", ["image", "zero"], ["none"]),
        helper.make_node("Add", ["none", "half"], ["level"]),
    ]
    nodes = [nodes[2], nodes[3], nodes[0], nodes[1]]
    values = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "y", "x"]),
              helper.make_tensor_value_info("class", TensorProto.INT64, ["n", 1, "y", "x"])]  # fmt: skip
    numbers = [helper.make_tensor(name, 1, [1], [value]) for name, value in (("zero", 0.0), ("half", 0.5))]
    graph = helper.make_graph(nodes, "classes", values[:1], values[1:], numbers)
    onnx = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    given = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    package = inference.write_package(
        tmp_path / "classes", name="classes", description="Dim or bright.", onnx=onnx, weights={"none": np.zeros(1)},
        image=inference.Image(["DNA"]), outputs=[inference.Output("class", ["bright"], 0)], test_input=given,
        test_output={"class": (given < 0.5).astype(np.int64)}, training={}, metrics={},
    )  # fmt: skip
    image = np.random.default_rng(1).random((1, 130, 140), np.float32)
    found = inference.load(package, threads=1).predict(image, tile=48)["class"]
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, image < 0.5)
    assert {one.state for one in inference.prove(package, threads=1)} == {"passed"}
