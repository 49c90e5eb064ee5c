"""From a network to ONNX bytes, proven equal before they are handed out, and to a model package."""

from __future__ import annotations

import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from phenostream.errors import MissingExtraError, StepError
from phenostream.inference import write_package

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from phenostream.inference import Output, Package

_TOLERANCE = 1e-4
OPSET = 18


def to_onnx(
    network: nn.Module,
    example_inputs: Sequence[Tensor],
    *,
    inputs: Sequence[str] = ("image",),
    outputs: Sequence[str] = ("output",),
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
) -> bytes:
    """`network` in evaluation mode as one ONNX file without external data, compared with ONNX Runtime.

    Args:
        network: takes the inputs in order; returns a tensor or a tuple of tensors.
        example_inputs: one tensor an input; they settle the types and every axis that is not `dynamic`.
        inputs: their names.
        outputs: names of what it returns.
        dynamic: axes that may take any length, by input: ``{"image": {0: "n", 2: "y", 3: "x"}}``. The graph is run with
            these lengths doubled, too.

    Raises:
        StepError: ONNX Runtime answers otherwise than the network, by more than 1e-4 of the largest number.
        MissingExtraError: the packages of the extra ``train`` are not there.
    """
    dynamic = dynamic or {}
    network = network.cpu().eval()
    # An axis of length one would be taken for a constant.
    examples = [
        _repeated(one, dynamic.get(name, {}), least=2) for one, name in zip(example_inputs, inputs, strict=True)
    ]
    shapes = tuple(dict(dynamic.get(name, {})) or None for name in inputs)
    onnx = _export(network, examples, list(inputs), list(outputs), shapes if dynamic else None)
    _compare(onnx, network, examples, inputs)
    if dynamic:
        _compare(
            onnx,
            network,
            [_doubled(one, dynamic.get(name, {})) for one, name in zip(examples, inputs, strict=True)],
            inputs,
        )
    return onnx


def write_network(
    network: nn.Module,
    folder: str | os.PathLike[str],
    *,
    test: NDArray[np.float32],
    outputs: Sequence[Output],
    dynamic: Mapping[int, str],
    weights: Mapping[str, Tensor] | None = None,
    **told: Any,
) -> Package:
    """Write `network` as a model package that holds its graph, its weights and its answer to a test.

    Args:
        network: takes an image (N, C, Y, X); returns a tensor or a tuple of tensors.
        folder: to make.
        test: what it is tested with, as the package takes it.
        outputs: what it returns, in order.
        dynamic: axes of the image that may take any length: ``{0: "n", 2: "y", 3: "x"}``.
        weights: in place of all its parameters and buffers.
        told: everything else that :func:`phenostream.inference.write_package` is told.

    Raises:
        StepError, MissingExtraError: as :func:`to_onnx`.
    """
    names, image = [one.name for one in outputs], torch.from_numpy(test)
    onnx = to_onnx(network, [image], outputs=names, dynamic={"image": dynamic})
    with torch.no_grad():
        answer = network(image)
    answers = [answer] if isinstance(answer, torch.Tensor) else answer
    state = network.state_dict() if weights is None else weights
    return write_package(
        folder,
        onnx=onnx,
        weights={name: value.detach().cpu().numpy() for name, value in state.items()},
        outputs=outputs,
        test_input=test,
        test_output={name: one.numpy() for name, one in zip(names, answers, strict=True)},
        **told,
    )


def licence_text(licence: str, attribution: str) -> str:
    """The file ``LICENSE`` of a package whose data want something to be said; else empty."""
    return f"SPDX-License-Identifier: {licence}\n\n{attribution}\n" if attribution else ""


def _export(network: nn.Module, examples: list[Tensor], inputs: list[str], outputs: list[str], shapes: object) -> bytes:
    with tempfile.TemporaryDirectory() as folder, _quietly():
        path = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(
                network, tuple(examples), path, input_names=inputs, output_names=outputs, dynamic_shapes=shapes,  # type: ignore[arg-type]
                opset_version=OPSET, dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
        except ModuleNotFoundError as error:
            raise MissingExtraError.of(error.name or "onnxscript", "train") from error
        return _without_traces(path.read_bytes())


def _without_traces(onnx: bytes) -> bytes:
    """The same graph without the exporter's notes: they hold paths of the machine, so no two machines' were alike."""
    from onnx import ModelProto  # noqa: PLC0415

    model = ModelProto.FromString(onnx)
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        graph.ClearField("metadata_props")
        graph.ClearField("doc_string")
        for node in graph.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        for value in (*getattr(graph, "value_info", ()), *getattr(graph, "initializer", ())):
            value.ClearField("metadata_props")
    model.ClearField("metadata_props")
    bare: bytes = model.SerializeToString(deterministic=True)
    return bare


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporter warns about itself: about packages that it could use and interfaces that it will drop."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _repeated(tensor: Tensor, axes: Mapping[int, str], *, least: int) -> Tensor:
    return tensor.repeat(*(least if axis in axes and length < least else 1 for axis, length in enumerate(tensor.shape)))


def _doubled(tensor: Tensor, axes: Mapping[int, str]) -> Tensor:
    return tensor.repeat(*(2 if axis in axes else 1 for axis in range(tensor.ndim)))


def _compare(onnx: bytes, network: nn.Module, examples: Sequence[Tensor], inputs: Sequence[str]) -> None:
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    told = session.run(None, {name: one.numpy() for name, one in zip(inputs, examples, strict=True)})
    with torch.no_grad():
        answer = network(*examples)
    wanted = [answer] if isinstance(answer, torch.Tensor) else list(answer)
    for mine, theirs in zip(wanted, told, strict=True):
        scale = max(float(mine.abs().max()), 1.0)
        worst = float(np.abs(mine.numpy() - theirs).max()) / scale
        if not worst <= _TOLERANCE:
            raise StepError(f"the exported graph differs from the network by {worst:.1e} of the largest number")
