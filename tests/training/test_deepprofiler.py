"""EfficientNet-B0 from a Keras file: against plain formulas always, against Keras itself where it is at hand.

Set ``PHENOSTREAM_TENSORFLOW_PYTHON`` to the python of an environment with TensorFlow to run the second; TensorFlow's
pins do not go together with ours.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy import ndimage

from phenostream.errors import NotFoundError
from phenostream.features import DeepSettings, embed_table
from phenostream.features.deep.boxes import outline_means
from phenostream.features.deep.gather import gather_deepprofiler
from phenostream.training.deepprofiler import efficientnet, import_efficientnet

# Expansion, output channels, repeats, stride, kernel: table 1 of Tan and Le 2019.
GROUPS = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
          (6, 320, 1, 1, 3)]  # fmt: skip

KERAS = """
import sys
import numpy as np
import keras
path, first = sys.argv[1], sys.argv[4]  # the layer whose input the crops are: its own, or that of the whole network
rng = np.random.default_rng(3)
crops = np.repeat(np.load(sys.argv[2])[..., None], 3, axis=-1)
model = keras.applications.EfficientNetB0(weights=None)
for layer in model.layers:
    values = layer.get_weights()
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.set_weights([rng.uniform(0.7, 1.3, values[0].shape), rng.normal(0, 0.3, values[1].shape), *values[2:]])
    elif "_se_" in layer.name and values:
        layer.set_weights([values[0], rng.normal(0, 0.3, values[1].shape)])
    elif layer.name == "normalization":
        layer.set_weights([rng.normal(0, 0.3, 3) / 255, rng.uniform(0.5, 2, 3) / 255**2, values[2]])
model.save(path)
model = keras.models.load_model(path)  # a normalisation takes its numbers up when it is loaded
norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
for layer in norms:
    layer.momentum = 0.0  # the statistics of one batch, so that activations stay of the order of 1
pooled = keras.Model(model.get_layer(first).input if first else model.input, model.get_layer("avg_pool").output)
pooled(crops, training=True)
for layer in norms:
    gamma, beta, mean, variance = layer.get_weights()
    layer.set_weights([gamma, beta, mean, variance * rng.uniform(0.8, 1.25, variance.shape)])
model.save(path)
np.save(sys.argv[3], pooled.predict(crops, verbose=0))
"""
CROPPING = """
import sys
import numpy as np
import tensorflow as tf
given = np.load(sys.argv[1])
image, centres = given["image"].astype(np.float32), given["centres"]
height, width = image.shape
boxes = np.zeros((len(centres), 4), np.float32)
boxes[:, :2], boxes[:, 2:] = centres - 64, centres + 64
boxes[:, [0, 2]] /= height
boxes[:, [1, 3]] /= width
crops = tf.image.crop_and_resize(image[None, ..., None], boxes, np.zeros(len(centres), np.int32), [128, 128])
low, high = (reduce(crops, axis=[1, 2], keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
crops = (crops - low) / high
crops = tf.compat.v1.image.resize_images(crops, (224, 224))
low, high = (reduce(crops, axis=[1, 2, 3], keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
np.save(sys.argv[2], ((crops - low) / (high - low) * 2 - 1).numpy()[..., 0])
"""


def _field() -> tuple[np.ndarray, np.ndarray]:
    """A field of textured nuclei, some at the border."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:300, :340]
    image, labels = np.zeros(yy.shape), np.zeros(yy.shape, np.int32)
    for number, (y, x) in enumerate([(10, 12), (150, 170), (90, 300), (299, 200), (220, 60)], start=1):
        inside = ((yy - y) / 13) ** 2 + ((xx - x) / 10) ** 2 < 1
        labels[inside], image[inside] = 2 * number, rng.uniform(80, 200)
    texture = ndimage.gaussian_filter(rng.normal(size=image.shape), 2) * 60
    return (ndimage.gaussian_filter(image, 1) + texture + 30).clip(0, 255).astype(np.uint8), labels


def _layers(rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """Random weights of B0 in the original's layout, small enough that nothing overflows."""

    def kernel(*shape: int) -> np.ndarray:
        return rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(np.float32)

    def norm(width: int) -> dict[str, np.ndarray]:
        ends = {"gamma": (0.8, 1.2), "beta": (-0.3, 0.3), "moving_mean": (-0.3, 0.3), "moving_variance": (0.4, 1.6)}
        return {name: rng.uniform(*pair, width).astype(np.float32) for name, pair in ends.items()}

    found = {"stem_conv": {"kernel": kernel(3, 3, 3, 32)}, "stem_bn": norm(32)}
    inputs = 32
    for group, (expansion, outputs, repeats, _, size) in enumerate(GROUPS, start=1):
        for place in range(repeats):
            name, inner = f"block{group}{'abcd'[place]}", inputs * expansion
            if expansion > 1:
                found[f"{name}_expand_conv"] = {"kernel": kernel(1, 1, inputs, inner)}
                found[f"{name}_expand_bn"] = norm(inner)
            depthwise = rng.normal(0, 1 / size, (size, size, inner, 1)).astype(np.float32)
            found[f"{name}_dwconv"] = {"depthwise_kernel": depthwise}
            found[f"{name}_bn"] = norm(inner)
            squeezed = max(1, inputs // 4)
            for part, a, b in (("se_reduce", inner, squeezed), ("se_expand", squeezed, inner)):
                found[f"{name}_{part}"] = {
                    "kernel": kernel(1, 1, a, b),
                    "bias": rng.normal(0, 0.3, b).astype(np.float32),
                }
            found[f"{name}_project_conv"] = {"kernel": kernel(1, 1, inner, outputs)}
            found[f"{name}_project_bn"] = norm(outputs)
            inputs = outputs
    return found | {"top_conv": {"kernel": kernel(1, 1, 320, 1280)}, "top_bn": norm(1280)}


def _save(path: Path, layers: dict[str, dict[str, np.ndarray]]) -> Path:
    with h5py.File(path, "w") as file:
        for layer, variables in layers.items():
            for name, value in variables.items():
                file[f"{layer}/{layer}/{name}:0"] = value
    return path


def _swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def _norm(x: np.ndarray, told: dict[str, np.ndarray]) -> np.ndarray:
    root = np.sqrt(told["moving_variance"].astype(float) + 1e-3)
    return (x - told["moving_mean"]) / root * told["gamma"] + told["beta"]


def _taps(x: np.ndarray, size: int, stride: int) -> list[tuple[int, int, np.ndarray]]:
    """What each tap (i, j) of a kernel sees of (Y, X, C) under TensorFlow's `SAME` padding."""
    pads = []
    for length in x.shape[:2]:
        missing = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads.append((missing // 2, missing - missing // 2))
    padded = np.pad(x, (*pads, (0, 0)))
    height, width = (-(-length // stride) for length in x.shape[:2])
    return [
        (i, j, padded[i : i + stride * height : stride, j : j + stride * width : stride][:height, :width])
        for i in range(size)
        for j in range(size)
    ]


def _reference(image: np.ndarray, layers: dict[str, dict[str, np.ndarray]]) -> np.ndarray:
    """B0's avg_pool for one image (Y, X, 3), in NumPy and double precision."""
    kernel = layers["stem_conv"]["kernel"].astype(float)
    seen = sum(part @ kernel[i, j] for i, j, part in _taps(image, 3, 2))
    seen = _swish(_norm(seen, layers["stem_bn"]))
    for group, (expansion, _, repeats, stride, size) in enumerate(GROUPS, start=1):
        for place in range(repeats):
            start = f"block{group}{'abcd'[place]}_"
            told = {key.removeprefix(start): value for key, value in layers.items() if key.startswith(start)}
            inner = seen
            if expansion > 1:
                inner = _swish(_norm(inner @ told["expand_conv"]["kernel"][0, 0].astype(float), told["expand_bn"]))
            wise = told["dwconv"]["depthwise_kernel"][..., 0].astype(float)
            inner = sum(part * wise[i, j] for i, j, part in _taps(inner, size, 1 if place else stride))
            inner = _swish(_norm(inner, told["bn"]))
            gate = inner.mean((0, 1)) @ told["se_reduce"]["kernel"][0, 0] + told["se_reduce"]["bias"]
            gate = _swish(gate) @ told["se_expand"]["kernel"][0, 0] + told["se_expand"]["bias"]
            inner = inner / (1 + np.exp(-gate))
            inner = _norm(inner @ told["project_conv"]["kernel"][0, 0].astype(float), told["project_bn"])
            seen = seen + inner if inner.shape == seen.shape and (place or stride == 1) else inner
    top = _swish(_norm(seen @ layers["top_conv"]["kernel"][0, 0].astype(float), layers["top_bn"]))
    return top.mean((0, 1))


def test_the_imported_network_is_the_formulas(tmp_path: Path) -> None:
    layers = _layers(np.random.default_rng(5))
    network = efficientnet(_save(tmp_path / "w.h5", layers))
    crops = np.random.default_rng(1).random((2, 1, 75, 64)).astype(np.float32)
    crops[1] = ndimage.gaussian_filter(crops[1], (0, 6, 6))
    with torch.no_grad():
        found = network(torch.from_numpy(crops)).numpy()
    for crop, one in zip(crops[:, 0].astype(float), found, strict=True):
        scaled = (crop - crop.min()) / np.ptp(crop) * 2 - 1
        np.testing.assert_allclose(one, _reference(np.repeat(scaled[..., None], 3, 2), layers), atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_a_networks_own_first_layers_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    layers = _layers(rng)
    entry = {"mean": rng.normal(0, 0.3, 3) / 255, "variance": rng.uniform(0.5, 2, 3) / 255**2}
    path = _save(tmp_path / "w.h5", layers | {"normalization": entry})
    with h5py.File(path, "a") as file:
        file.create_group("rescaling")
    crop = ndimage.gaussian_filter(rng.random((64, 64)), 2).astype(np.float32)
    with torch.no_grad():
        found = efficientnet(path)(torch.from_numpy(crop[None, None])).numpy()[0]
    scaled = np.repeat(((crop.astype(float) - crop.min()) / np.ptp(crop) * 2 - 1)[..., None], 3, 2)
    wanted = _reference((scaled / 255 - entry["mean"]) / np.sqrt(entry["variance"]), layers)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(wanted - _reference(scaled, layers)).max() > 1e-4


@pytest.mark.slow
def test_the_package_has_deepprofilers_columns(tmp_path: Path) -> None:
    package = import_efficientnet(
        _save(tmp_path / "w.h5", _layers(np.random.default_rng(5))), tmp_path / "efficientnet"
    )
    image, labels = _field()
    table = embed_table(image, labels, settings=DeepSettings(model=str(package.folder)), threads=1)
    assert table.column_names == ["ObjectNumber", *(f"efficientnet_{i}" for i in range(1280))]
    assert table.column("ObjectNumber").to_pylist() == [2, 4, 6, 8, 10]
    found = np.column_stack([column.to_numpy() for column in table.columns[1:]])
    assert np.isfinite(found).all()
    crops = gather_deepprofiler(
        image[None].astype(np.float32), outline_means((labels // 2).astype(np.int32), 5), 128, 224
    )
    with torch.no_grad():
        wanted = efficientnet(tmp_path / "w.h5")(torch.from_numpy(crops)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    layers = _layers(np.random.default_rng(5))
    del layers["block5b_se_expand"]
    with pytest.raises(NotFoundError, match="block5b_se_expand"):
        efficientnet(_save(tmp_path / "w.h5", layers))


def _tensorflow() -> str:
    python = os.environ.get("PHENOSTREAM_TENSORFLOW_PYTHON", "")
    if not python:
        pytest.skip("set PHENOSTREAM_TENSORFLOW_PYTHON to the python of an environment with TensorFlow")
    return python


def _ask(python: str, program: str, *arguments: Path | str) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    told = subprocess.run(
        [python, "-c", program, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "stem_conv_pad"])
def test_avg_pool_is_that_of_keras(tmp_path: Path, first: str) -> None:
    """Of the whole network with its own rescaling, and of what comes after it, which is all that DeepProfiler's has."""
    python = _tensorflow()
    image, labels = _field()
    middles = outline_means((labels // 2).astype(np.int32), 5)
    crops = gather_deepprofiler(image[None].astype(np.float32), middles, 128, 224)
    low, high = crops.min((2, 3), keepdims=True), crops.max((2, 3), keepdims=True)
    scaled = (crops - low) / (high - low) * 2 - 1
    np.save(tmp_path / "crops.npy", scaled[:, 0])
    _ask(python, KERAS, tmp_path / "w.h5", tmp_path / "crops.npy", tmp_path / "told.npy", first)
    told = np.load(tmp_path / "told.npy")
    network = efficientnet(tmp_path / "w.h5")
    with torch.no_grad():
        seen = torch.from_numpy(scaled)
        found = network.network(seen.repeat(1, 3, 1, 1)) if first else network(torch.from_numpy(crops))
    assert np.ptp(told, axis=0).max() > 0.1
    assert np.abs(found.numpy() - told).max() < 1e-4


@pytest.mark.slow
def test_crops_are_those_of_tensorflow(tmp_path: Path) -> None:
    python = _tensorflow()
    image, labels = _field()
    middles = outline_means((labels // 2).astype(np.int32), 5)
    np.savez(tmp_path / "given.npz", image=image, centres=middles)
    _ask(python, CROPPING, tmp_path / "given.npz", tmp_path / "crops.npy")
    crops = gather_deepprofiler(image[None].astype(np.float32), middles, 128, 224)[:, 0]
    low, high = crops.min((1, 2), keepdims=True), crops.max((1, 2), keepdims=True)
    assert np.abs((crops - low) / (high - low) * 2 - 1 - np.load(tmp_path / "crops.npy")).max() < 1e-4
