"""The exam of model packages, and small honest ones to start from."""

# ruff: noqa: S101  (an exam asserts)

from __future__ import annotations

import gc
import math
import pickle
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from phenostream import inference
from phenostream.errors import (
    ChangedError,
    NotFiniteError,
    NotFoundError,
    WrongShapeError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PackageExam", "network", "small_package"]


def network(
    channels: int = 1, *, axes: str = "yx", kernel: int = 5, width: int = 4, levels: int = 0, seed: int = 0
) -> tuple[bytes, int]:
    """An ONNX file with random weights, and its halo in pixels.

    Two convolutions of `kernel` with a ReLU between, then `levels` times max pooling by 2, a convolution and nearest
    upsampling, added to what was there before; outputs `map` (2 channels) and `coarse` (3 channels, at the lowest
    level).

    Args:
        channels: of the input ``image``.
        axes: ``yx`` or ``zyx``.
        kernel: odd length of all kernels.
        width: channels within.
        levels: of downsampling.
        seed: of the weights.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    nodes, tensors, dimensions = [], [], len(axes)

    def convolve(given: str, gives: str, before: int, after: int, *, length: int = kernel) -> None:
        scale = 1 / math.sqrt(before * length**dimensions)
        kernels = rng.normal(0, scale, (after, before, *[length] * dimensions)).astype(np.float32)
        tensors.append(helper.make_tensor(f"{gives}.w", 1, kernels.shape, kernels.tobytes(), raw=True))
        bias = rng.normal(0, 0.1, after).astype(np.float32)
        tensors.append(helper.make_tensor(f"{gives}.b", 1, bias.shape, bias.tobytes(), raw=True))
        pads = [length // 2] * 2 * dimensions
        nodes.append(helper.make_node("Conv", [given, f"{gives}.w", f"{gives}.b"], [gives], gives, pads=pads))

    convolve("image", "first", channels, width)
    nodes.append(helper.make_node("Relu", ["first"], ["active"], "active"))
    convolve("active", "level0", width, width)
    for level in range(1, levels + 1):
        twos = [2] * dimensions
        nodes.append(
            helper.make_node("MaxPool", [f"level{level - 1}"], [f"pool{level}"], kernel_shape=twos, strides=twos)
        )
        convolve(f"pool{level}", f"level{level}", width, width)
    for level in range(levels, 0, -1):
        below = f"level{level}" if level == levels else f"sum{level}"
        scales = np.array([1, 1, *[2] * dimensions], np.float32)
        tensors.append(helper.make_tensor(f"scales{level}", 1, scales.shape, scales.tobytes(), raw=True))
        nodes.append(helper.make_node("Resize", [below, "", f"scales{level}"], [f"up{level}"], mode="nearest",
                                      coordinate_transformation_mode="asymmetric", nearest_mode="floor"))  # fmt: skip
        nodes.append(helper.make_node("Add", [f"up{level}", f"level{level - 1}"], [f"sum{level - 1}"]))
    convolve("sum0" if levels else "level0", "map", width, 2, length=1)
    convolve(f"level{levels}", "coarse", width, 3, length=1)
    free = [*axes]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", count, *(f"{one}{tail}" for one in free)])
              for name, count, tail in (("image", channels, ""), ("map", 2, ""), ("coarse", 3, "c"))]  # fmt: skip
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    reach = 2 * (kernel // 2) + sum((kernel // 2) * 2**level + 2**level for level in range(1, levels + 1))
    return model.SerializeToString(), reach


def small_package(
    folder: Path,
    *,
    channels: int = 1,
    axes: str = "yx",
    kernel: int = 5,
    width: int = 4,
    levels: int = 0,
    seed: int = 0,
) -> inference.Package:
    """A package of `network` in `folder`, with test tensors from ONNX Runtime itself."""
    import onnxruntime  # noqa: PLC0415

    onnx, halo = network(channels, axes=axes, kernel=kernel, width=width, levels=levels, seed=seed)
    stride = 2**levels
    side = -(-(2 * halo + 1) // stride) * stride + stride
    given = np.random.default_rng(seed).random((1, channels, *[side] * len(axes)), np.float32)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    outputs = dict(zip(("map", "coarse"), session.run(None, {"image": given}), strict=True))
    return inference.write_package(
        folder,
        name=folder.name,
        description="A small network with random weights, for tests.",
        onnx=onnx,
        weights={"seed": np.array([seed], np.int64)},
        image=inference.Image([f"channel{place}" for place in range(channels)], axes, stride),
        outputs=[
            inference.Output("map", ["a", "b"], halo),
            inference.Output("coarse", ["a", "b", "c"], halo, Fraction(1, stride)),
        ],
        test_input=given,
        test_output=outputs,
        training={"seed": seed, "data": {}},
        metrics={"accuracy": 0.5},
        tags=["test"],
    )


class PackageExam:
    """Make a subclass named ``Test...`` whose fixture `package` gives yours; pytest does the rest.

    Attributes:
        tolerance: by how much tiles may differ from the whole image.
        length: of the images that are cut, in windows.
    """

    tolerance: ClassVar[float] = 1e-4
    length: ClassVar[float] = 1.6

    @pytest.fixture
    def package(self, tmp_path: Path) -> inference.Package:
        """Yours to give."""
        raise NotImplementedError

    @pytest.fixture
    def model(self, package: inference.Package) -> inference.Model:
        """Loaded on one thread of the processor."""
        return inference.load(package, device="cpu", threads=1)

    @pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    def test_the_official_validator_accepts_it(self, package: inference.Package) -> None:
        """bioimageio.spec reads the description and every file it names."""
        from bioimageio.spec import load_description  # noqa: PLC0415

        found = load_description(package.folder / "rdf.yaml", perform_io_checks=True)
        assert found.validation_summary.status in ("valid-format", "passed"), found.validation_summary.format()
        del found
        gc.collect()  # it leaves files open, which must not be told of the next test

    def test_it_tells_how_it_was_made(self, package: inference.Package) -> None:
        """Recipe, metrics, weights and licence are there."""
        own = package.description.own
        assert package.description.license
        assert own.training is not None
        assert own.metrics is not None
        assert all(np.isfinite(one).all() for one in inference.read_weights(package).values())

    def test_it_does_what_it_did(self, package: inference.Package) -> None:
        """Test tensors are reproduced; nothing fails."""
        checks = inference.prove(package, device="cpu", threads=1)
        assert any(one.state == "passed" for one in checks)
        assert [one for one in checks if one.state == "failed"] == []

    def test_tiles_equal_the_whole(self, model: inference.Model) -> None:
        """On an image no length of which fits the stride, with and without blending."""
        image, window = self.image(model)
        whole = model.predict(image, tile=[2 * one for one in image.shape[1:]])
        for overlap in (0, 16):
            tile = [one + 4 * overlap for one in window]
            cut = model.predict(image, tile=tile, overlap=overlap)
            for name, one in whole.items():
                assert cut[name].shape == one.shape
                np.testing.assert_allclose(cut[name], one, rtol=0, atol=self.tolerance * max(1, np.abs(one).max()))

    def test_the_halo_is_true(self, model: inference.Model) -> None:
        """A changed pixel changes nothing farther off than the halo."""
        image, _ = self.image(model)
        middle = tuple(length // 2 for length in image.shape[1:])
        other = image.copy()
        other[(slice(None), *middle)] += 1
        shape = [2 * one for one in image.shape[1:]]
        before, after = model.predict(image, tile=shape), model.predict(other, tile=shape)
        assert model.frame.halo is not None
        for name, one in before.items():
            changed = np.nonzero(np.abs(after[name] - one) > 1e-6)[1:]
            for place, ratio, halo, center in zip(
                changed, model.frame.ratios[name], model.frame.halo, middle, strict=True
            ):
                assert place.size == 0 or np.abs((place + 0.5) / float(ratio) - 0.5 - center).max() <= halo + 1 / ratio

    def test_batches_equal_single_images(self, model: inference.Model) -> None:
        """Within 1e-5 of the largest value: kernels may choose another order of sums for another batch."""
        given = np.repeat(self.tensor(model), 3, axis=0)
        given[1] *= 0.5
        for name in model.package.outputs:
            together = model.batch(given, output=name)
            for one, single in zip(together, given, strict=True):
                alone = model.batch(single[None], output=name)[0]
                np.testing.assert_allclose(one, alone, rtol=0, atol=1e-5 * max(1, np.abs(alone).max()))

    def test_the_same_again_is_the_same(self, model: inference.Model) -> None:
        """Bit by bit, also in another process's copy."""
        given = self.tensor(model)[0]
        travelled = pickle.loads(pickle.dumps(model))  # noqa: S301  (our own bytes)
        for name, one in model.predict(given).items():
            np.testing.assert_array_equal(model.predict(given)[name], one)
            np.testing.assert_array_equal(travelled.predict(given)[name], one)

    def test_images_that_do_not_fit_are_refused(self, model: inference.Model) -> None:
        """Another number of channels or axes, NaN."""
        given = self.tensor(model)[0].astype(np.float32)
        for wrong in (np.concatenate([given, given]), given[0], given[None]):
            with pytest.raises(WrongShapeError):
                model.predict(wrong)
        given[(0,) * given.ndim] = np.nan
        with pytest.raises(NotFiniteError):
            model.predict(given)

    def test_every_file_counts(self, package: inference.Package) -> None:
        """A byte changed or a file gone is refused, and the message names it; put back, all is as before."""
        for path in package.description.files:
            place = package.folder / path
            whole = place.read_bytes()
            place.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            with pytest.raises(ChangedError, match=path):
                inference.open_package(package.folder)
            place.unlink()
            with pytest.raises(NotFoundError, match=path):
                inference.open_package(package.folder)
            place.write_bytes(whole)
        assert inference.open_package(package.folder).sha256 == package.sha256

    def test_it_travels(self, package: inference.Package, tmp_path: Path) -> None:
        """As a zip and back: the same identity; exported twice: the same bytes."""
        first, second = (inference.export_package(package, tmp_path / f"{count}.zip") for count in (1, 2))
        assert first.read_bytes() == second.read_bytes()
        again = inference.import_package(first, name="again", to=tmp_path / "store")
        assert again.sha256 == package.sha256

    def image(self, model: inference.Model) -> tuple[NDArray[Any], list[int]]:
        """An image like the test input, some windows long, and the least window."""
        if not model.frame.cuttable:
            pytest.skip("it takes whole images only")
        window = model.frame.least([10**9] * len(model.frame.names), 0)
        shape = [int(self.length * one) + 1 for one in window]
        given = self.tensor(model)[0]
        pads = [(0, 0), *((0, max(0, want - have)) for want, have in zip(shape, given.shape[1:], strict=True))]
        padded = np.pad(given, pads, mode="reflect")
        return padded[(slice(None), *(slice(0, one) for one in shape))], list(window)

    @staticmethod
    def tensor(model: inference.Model) -> NDArray[Any]:
        """The package's test input."""
        package = model.package
        return np.asarray(np.load(package.folder / package.description.input.test_tensor.source))
