"""Whether a package does here what it did where it was made."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from phenostream.errors import DamagedError, NotFoundError
from phenostream.inference.model import Model
from phenostream.inference.tiling import padded_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.inference.package import Package
    from phenostream.inference.sessions import Device

__all__ = ["Check", "prove", "read_tensor", "read_weights"]

#: Of the largest expected value; the bar of tiles, and what other processors' arithmetic stays well below.
TOLERANCE = 1e-4
_RELATIVE = 1e-3
_MOST_MB = 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: what.
        state: ``passed``, ``failed``, or ``left out`` where the package does not offer it or it would take too much.
        detail: with figures.
    """

    name: str
    state: Literal["passed", "failed", "left out"]
    detail: str


def prove(package: Package, *, device: Device = "auto", threads: int | None = None) -> list[Check]:
    """Run the package's test tensors, its tiles, and read its weights.

    Outputs must be within 1e-3 of each expected value plus 1e-4 of the largest; tiles within 1e-4 of the whole. Raises
    what `load` raises, and DamagedError for test tensors that are none.
    """
    model = Model(package, device=device, threads=threads)
    given = read_tensor(package, package.description.input.test_tensor.source)
    checks = [_reproduces(model, given, name) for name in package.outputs]
    return [*checks, _tiles(model, given), _weights(package)]


def read_tensor(package: Package, path: str) -> NDArray[Any]:
    """A test tensor of the package; no pickles, no more bytes than are there. Raises DamagedError."""
    data = package.read(path)
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        sound = not dtype.hasobject and math.prod(shape) * dtype.itemsize == len(data) - stream.tell()
        stream.seek(0)
        if sound:
            return np.asarray(np.load(stream, allow_pickle=False))
    except (ValueError, TypeError, SyntaxError, EOFError, OverflowError, RecursionError) as error:
        raise DamagedError(f"{path} is no array: {error}", remedy="get the package again") from error
    raise DamagedError(f"{path} holds objects, or not the numbers that it says", remedy="get the package again")


def read_weights(package: Package) -> dict[str, NDArray[Any]]:
    """The tensors of ``weights.safetensors``. Raises NotFoundError without the file, DamagedError for other bytes."""
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.numpy import load  # noqa: PLC0415

    named = package.description.own.weights
    if named is None:
        raise NotFoundError(f"{package.name} comes without weights to train on", remedy="use it for predicting")
    try:
        return dict(load(package.read(named.source)))
    except (SafetensorError, KeyError, ValueError) as error:
        raise DamagedError(f"{named.source} holds no tensors: {error}", remedy="get the package again") from error


def _reproduces(model: Model, given: NDArray[Any], name: str) -> Check:
    tensor = model.package.description.outputs[model.package.outputs.index(name)]
    expected = read_tensor(model.package, tensor.test_tensor.source)
    found = model.batch(given, output=name)
    if found.shape != expected.shape:
        return Check(f"output {name}", "failed", f"shape {found.shape}, expected {expected.shape}")
    apart, largest = _apart(found, expected), float(np.abs(expected.astype(np.float64)).max(initial=0))
    near = np.allclose(found, expected, rtol=_RELATIVE, atol=TOLERANCE * max(largest, 1e-12))
    return Check(f"output {name}", "passed" if near else "failed", f"at most {apart:.1e} apart, largest {largest:.3g}")


def _tiles(model: Model, given: NDArray[Any]) -> Check:
    """Cut an image that is a few windows long, without blending that could hide a halo that is too small."""
    frame = model.frame
    if not frame.cuttable or any(frame.fixed):
        return Check("tiles", "left out", "the model takes whole images only")
    window = frame.least([10**9] * len(frame.names), 0)
    shape = [length + length // 2 + 1 for length in window]
    needed = model.cost.bytes(math.prod(frame.padded(shape))) / 1e6
    if needed > _MOST_MB:
        return Check("tiles", "left out", f"the comparison would take {needed:,.0f} MB")
    image = padded_window(given[0], [(0, length) for length in shape])
    whole, cut = (model.predict(image, tile=tile, overlap=0) for tile in (shape, window))
    apart = max(_apart(whole[name], cut[name]) for name in whole)
    largest = max(1.0, *(float(np.abs(one).max(initial=0)) for one in whole.values()))
    passed = apart <= TOLERANCE * largest
    return Check("tiles", "passed" if passed else "failed", f"windows of {window}: at most {apart:.1e} from the whole")


def _weights(package: Package) -> Check:
    if package.description.own.weights is None:
        return Check("weights", "left out", "the package comes without weights to train on")
    tensors = read_weights(package)
    return Check("weights", "passed", f"{len(tensors)} tensors, {sum(one.size for one in tensors.values()):,} numbers")


def _apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0))
