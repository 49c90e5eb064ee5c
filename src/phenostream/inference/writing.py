"""Writing a package: every file beside the last, hashed, described, read back, and only then given its name."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from phenostream.errors import RecipeError, WrongShapeError
from phenostream.inference.folders import free, publish
from phenostream.inference.graph import Graph, read_graph
from phenostream.inference.package import RDF, Package
from phenostream.inference.shelves import checked_name

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Image", "Output", "write_package"]

_FORMAT = "0.5.4"


@dataclass(frozen=True, slots=True)
class Image:
    """What goes into a model.

    Attributes:
        channels: names, in order.
        axes: of space: ``yx`` or ``zyx``.
        stride: lengths must be a multiple of it (the downsampling of the network), one for all axes or one each.
        minimum: shortest length; by default the stride.
        size: the one length that the graph takes, where it is fixed; else None.
        pixel_size_um: along each axis, where the model was made for one.
        name: of the tensor.
    """

    channels: Sequence[str]
    axes: str = "yx"
    stride: int | Sequence[int] = 1
    minimum: int | Sequence[int] | None = None
    size: int | Sequence[int] | None = None
    pixel_size_um: float | Sequence[float] | None = None
    name: str = "image"


@dataclass(frozen=True, slots=True)
class Output:
    """What comes out of a model.

    Attributes:
        name: of the tensor, lower case.
        channels: names, in order.
        halo: pixels of the input that an output pixel looks at to each side (the radius of its receptive field), one
            for all axes or one each; None where it depends on the whole image, which then cannot be cut into tiles.
        ratio: its pixels a pixel of the input (``Fraction(1, 4)`` for a stride of 4); None for outputs without space.
        description: a sentence.
    """

    name: str
    channels: Sequence[str]
    halo: int | Sequence[int] | None = None
    ratio: Fraction | int | None = 1
    description: str = ""


def write_package(  # noqa: PLR0913  (a package has that many parts, and each is said by name)
    folder: str | os.PathLike[str],
    *,
    name: str,
    description: str,
    onnx: bytes,
    weights: Mapping[str, NDArray[Any]],
    image: Image,
    outputs: Sequence[Output],
    test_input: NDArray[Any],
    test_output: Mapping[str, NDArray[Any]],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    licence: str = "BSD-3-Clause",
    licence_text: str = "",
    settings: Mapping[str, Any] | None = None,
    title: str = "",
    version: str = "1.0.0",
    authors: Sequence[str] = ("The phenostream developers",),
    cite: Sequence[Mapping[str, str]] = (),
    tags: Sequence[str] = (),
    replace: bool = False,
) -> Package:
    """Write a model package into `folder`, which appears whole or not at all.

    Args:
        folder: to make.
        name: by which `find` shall know it.
        description: what the model does, a sentence or two.
        onnx: the graph with weights and normalisation, one file.
        weights: tensors by name, for training on; written as safetensors.
        image: the input.
        outputs: in the order of the graph.
        test_input: (N, C, [Z,] Y, X), what the graph takes.
        test_output: by output name, what it gave for `test_input`.
        training: recipe, seeds, versions and hashes of the data; JSON.
        metrics: figures and how they came about; JSON.
        licence: SPDX identifier of the weights.
        licence_text: for the file ``LICENSE``; a line with the identifier where it is empty.
        settings: what the task needs again; JSON.
        title: a human-readable name of 5 to 128 characters; made from `name` where it is empty.
        version: of the model.
        authors: names.
        cite: mappings with ``text`` and ``doi`` or ``url``.
        tags: for search.
        replace: whether a package that is there already may go.

    Raises ExistsError where `folder` exists and may not be replaced, RecipeError for a name that cannot be one,
    WrongShapeError for test tensors that do not fit, else what `open_package` refuses: nobody can write what nobody
    could open.
    """
    target = Path(folder)
    free(target, replace=replace)
    _check_tests(image, outputs, test_input, test_output)
    graph = read_graph(onnx)
    files = {
        "model.onnx": onnx,
        "weights.safetensors": _tensors(weights),
        "test_input.npy": _npy(test_input),
        **{f"test_output_{key}.npy": _npy(array) for key, array in test_output.items()},
        "training.json": _json(training),
        "metrics.json": _json(metrics),
        "LICENSE": (licence_text or f"SPDX-License-Identifier: {licence}\n").encode(),
        "README.md": _page(title or f"phenostream {name}", description, metrics, licence).encode(),
    }
    hashes = {key: {"source": key, "sha256": hashlib.sha256(data).hexdigest()} for key, data in files.items()}
    told: dict[str, Any] = {
        "type": "model",
        "format_version": _FORMAT,
        "name": title or f"phenostream {name}",
        "description": description,
        "version": version,
        "license": licence,
        "authors": [{"name": author} for author in authors],
        "cite": [dict(one) for one in cite] or [{"text": "phenostream", "url": "https://phenostream.readthedocs.io"}],
        "tags": list(tags),
        "documentation": hashes["README.md"],
        "attachments": [hashes[key] for key in ("weights.safetensors", "training.json", "metrics.json", "LICENSE")],
        "inputs": [_input(image, outputs, hashes["test_input.npy"], graph)],
        "outputs": [
            _output(one, image, hashes[f"test_output_{one.name}.npy"], value.dtype)
            for one, value in zip(outputs, graph.outputs, strict=False)
        ],
        "weights": {"onnx": {**hashes["model.onnx"], "opset_version": graph.opset}},
        "config": {
            "bioimageio": {"reproducibility_tolerance": [_tolerance(key, array) for key, array in test_output.items()]},
            "phenostream": {
                "name": checked_name(name),
                "settings": json.loads(_json(settings or {})),
                "tileable": all(one.halo is not None for one in outputs if one.ratio is not None),
                "minimum": [_least(image, place) for place in range(len(image.axes))],
                "training": hashes["training.json"],
                "metrics": hashes["metrics.json"],
                "weights": hashes["weights.safetensors"],
            },
        },
    }
    files[RDF] = yaml.dump(told, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120).encode()
    return publish(target, files, name=name, replace=replace)


class _Plain(yaml.SafeDumper):
    """Says a value out each time that it occurs."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _input(image: Image, outputs: Sequence[Output], test: Mapping[str, str], graph: Graph) -> dict[str, Any]:
    space = []
    for place, axis in enumerate(image.axes):
        stride = _each(image.stride, place)
        fixed = None if image.size is None else _each(image.size, place)
        size = fixed or {"min": max(_least(image, place), _told_least(outputs, place, stride)), "step": stride}
        space.append({"type": "space", "id": axis, "size": size, **_scale(image, place, Fraction(1))})
    return {
        "id": image.name,
        "axes": [{"type": "batch"}, {"type": "channel", "channel_names": list(image.channels)}, *space],
        "test_tensor": dict(test),
        "data": {"type": _dtype(graph.inputs[0].dtype)},
    }


def _least(image: Image, place: int) -> int:
    stride = _each(image.stride, place)
    least = stride if image.minimum is None else _each(image.minimum, place)
    return int(-(-least // stride) * stride)


def _told_least(outputs: Sequence[Output], place: int, stride: int) -> int:
    """The specification wants something left of the shortest length after halos are cropped."""
    halos = [_each(one.halo, place) for one in outputs if one.halo is not None and one.ratio is not None]
    return int(-(-(2 * max(halos, default=0) + 1) // stride) * stride) + (stride if halos else 0)


def _output(output: Output, image: Image, test: Mapping[str, str], dtype: str) -> dict[str, Any]:
    space = []
    for place, axis in enumerate(image.axes if output.ratio is not None else ""):
        ratio = Fraction(output.ratio or 1)
        told: dict[str, Any] = {"type": "space", "id": axis, "size": {"tensor_id": image.name, "axis_id": axis}}
        told |= _scale(image, place, ratio)
        if output.halo is not None and (halo := -(-_each(output.halo, place) * ratio // 1)):
            told["halo"] = int(halo)
        space.append(told)
    return {
        "id": output.name,
        "description": output.description,
        "axes": [{"type": "batch"}, {"type": "channel", "channel_names": list(output.channels)}, *space],
        "test_tensor": dict(test),
        "data": {"type": _dtype(dtype)},
    }


def _tolerance(name: str, array: NDArray[Any]) -> dict[str, Any]:
    """How far other processors may be off: the specification allows up to a hundredth of the largest value."""
    if array.dtype.kind != "f":
        return {"output_ids": [name], "relative_tolerance": 0, "absolute_tolerance": 0}
    return {
        "output_ids": [name],
        "relative_tolerance": 1e-3,
        "absolute_tolerance": float(f"{1e-4 * np.abs(array).max(initial=0):.3g}"),
    }


def _check_tests(
    image: Image, outputs: Sequence[Output], given: NDArray[Any], gave: Mapping[str, NDArray[Any]]
) -> None:
    """The specification measures test tensors against the sizes that are told."""
    if given.ndim != 2 + len(image.axes) or given.shape[1] != len(image.channels):
        raise WrongShapeError(
            f"the test input has the shape {given.shape}", remedy=f"give (N, {len(image.channels)}, *{image.axes})"
        )
    for place, length in enumerate(given.shape[2:]):
        stride = _each(image.stride, place)
        least = max(_least(image, place), _told_least(outputs, place, stride))
        if image.size is None and (length < least or (length - least) % stride):
            raise WrongShapeError(
                f"the test input is {length} pixels long along {image.axes[place]}",
                remedy=f"give {least} or more by steps of {stride}: the specification wants more than two halos",
            )
    if set(gave) != {output.name for output in outputs}:
        raise WrongShapeError(f"test outputs are {sorted(gave)}, outputs {[one.name for one in outputs]}")


def _scale(image: Image, place: int, ratio: Fraction) -> dict[str, Any]:
    """Size of a pixel: in micrometres where it is known, else in pixels of the input."""
    if image.pixel_size_um is None:
        return {"scale": float(1 / ratio)}
    return {"scale": float(_each(image.pixel_size_um, place) / ratio), "unit": "micrometer"}


def _each(value: Any, place: int) -> Any:
    return value if isinstance(value, int | float) else value[place]


def _dtype(name: str) -> str:
    if name not in (
        "float32",
        "float64",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "bool",
    ):
        raise RecipeError(f"a package cannot describe a tensor of type {name!r}", remedy="export float32")
    return name


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def _tensors(weights: Mapping[str, NDArray[Any]]) -> bytes:
    from safetensors.numpy import save  # noqa: PLC0415

    return bytes(save({key: np.ascontiguousarray(array) for key, array in weights.items()}))


def _json(told: Mapping[str, Any]) -> bytes:
    return (json.dumps(told, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _page(title: str, description: str, metrics: Mapping[str, Any], licence: str) -> str:
    figures = "\n".join(f"- {key}: {value}" for key, value in sorted(metrics.items()))
    return f"""# {title}

{description}

`training.json` tells the recipe, the seeds, the versions and the hashes of the data; licence: {licence}.

## Validation

{figures or "No figures were given."}
"""
