"""The walk says of an ONNX file what `onnx` says of it."""

from __future__ import annotations

from contextlib import suppress

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from phenostream.errors import DamagedError, HostileError, PhenostreamError, TooLargeError
from phenostream.inference.graph import read_graph
from phenostream.inference.limits import Limits
from phenostream.testing.packages import network

SMALL, _ = network(2, levels=2)


def test_inputs_outputs_and_operators_are_those_that_onnx_reads() -> None:
    found, known = read_graph(SMALL), onnx.load_model_from_string(SMALL)
    for values, told in ((found.inputs, known.graph.input), (found.outputs, known.graph.output)):
        assert [value.name for value in values] == [one.name for one in told]
        for value, one in zip(values, told, strict=True):
            dims = one.type.tensor_type.shape.dim
            assert value.shape == tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
            assert value.dtype == helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type).name
    assert found.operators == {node.op_type for node in known.graph.node}
    assert found.opset == known.opset_import[0].version == 17


def test_initialisers_that_are_listed_as_inputs_need_not_be_fed() -> None:
    model = onnx.load_model_from_string(SMALL)
    tensor = model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    assert [value.name for value in read_graph(model.SerializeToString()).inputs] == ["image"]


def test_branches_are_walked_and_honest_ones_pass() -> None:
    model = onnx.load_model_from_string(SMALL)
    one = helper.make_tensor("one", 1, [1], [1.0])
    branch = helper.make_graph(
        [helper.make_node("Sqrt", ["one"], ["root"])], "b", [], [helper.make_tensor_value_info("root", 1, [1])], [one]
    )
    model.graph.node.append(helper.make_node("If", ["flag"], ["chosen"], then_branch=branch, else_branch=branch))
    assert {"If", "Sqrt"} <= read_graph(model.SerializeToString()).operators


def test_operators_of_the_standard_domains_pass() -> None:
    model = onnx.load_model_from_string(SMALL)
    model.graph.node.append(helper.make_node("Scaler", ["map"], ["scaled"], domain="ai.onnx.ml"))
    assert "Scaler" in read_graph(model.SerializeToString()).operators
    model.graph.node[-1].domain = "com.microsoft"
    with pytest.raises(HostileError, match=r"Scaler of com\.microsoft"):
        read_graph(model.SerializeToString())


def test_the_walk_is_bounded() -> None:
    with pytest.raises(TooLargeError, match="fields"):
        read_graph(SMALL, limits=Limits(fields=10))
    with pytest.raises(TooLargeError, match="bytes"):
        read_graph(SMALL, limits=Limits(onnx_bytes=10))


@pytest.mark.parametrize("cut", [1, 7, 100, len(SMALL) - 1])
def test_a_file_that_ends_early_is_refused(cut: int) -> None:
    with pytest.raises(DamagedError):
        read_graph(SMALL[:cut])


@settings(max_examples=300)
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_any_byte_gives_a_graph_or_a_named_error(at: int, byte: int) -> None:
    with suppress(PhenostreamError):
        read_graph(SMALL[:at] + bytes([byte]) + SMALL[at + 1 :])


@given(st.binary(max_size=200))
def test_noise_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(PhenostreamError):
        read_graph(data)
