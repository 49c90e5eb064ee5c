"""ONNX files of strangers: walked as raw protobuf, before any library builds a graph of them.

The walk knows only the fields of ``onnx.proto`` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) that tell what
a graph takes and gives and what it could reach: tensors outside of the file, operators outside of the standard, and
functions of its own. Weights are stepped over, not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phenostream.errors import DamagedError, HostileError, TooLargeError
from phenostream.inference.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Graph", "Step", "Value", "read_graph", "read_steps"]

_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          10: "float16", 11: "float64", 12: "uint32", 13: "uint64"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of a graph.

    Attributes:
        name: in the graph.
        dtype: as NumPy names it; empty where ONNX has a type that NumPy has not.
        shape: one entry an axis; None where it is free.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """What an ONNX file says of itself.

    Attributes:
        inputs: that must be fed, in order; initialisers are left out.
        outputs: in order.
        opset: version of the standard operators.
        operators: names of those used, subgraphs included.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    opset: int
    operators: frozenset[str]


def read_graph(data: bytes, *, limits: Limits = DEFAULT) -> Graph:
    """Look through an ONNX file.

    Raises:
        TooLargeError: more bytes, fields or nested graphs than `limits` allow.
        HostileError: tensors outside of the file, operators that are not the standard's, functions, training steps.
        DamagedError: bytes that are no ONNX model.
    """
    if len(data) > limits.onnx_bytes:
        raise TooLargeError(f"the ONNX file has {len(data):,} bytes, over the cap of {limits.onnx_bytes:,}")
    return _Walk(limits).model(memoryview(data))


@dataclass(slots=True)
class _Walk:
    limits: Limits
    seen: int = 0
    operators: set[str] = field(default_factory=set)

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Number and content of each field: an integer, or the bytes of a message, text or fixed-width number."""
        at = 0
        while at < len(data):
            self.seen += 1
            if self.seen > self.limits.fields:
                raise TooLargeError(f"the ONNX file has more than {self.limits.fields:,} fields")
            tag, at = _varint(data, at, 5)
            content: int | memoryview
            if tag & 7 == 0:
                content, at = _varint(data, at, 10)
            else:
                length, at = _length(data, at, tag & 7)
                if length > len(data) - at:
                    raise _damaged("it ends early")
                content, at = data[at : at + length], at + length
            yield tag >> 3, content

    def messages(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """As `fields`, those that hold bytes."""
        return ((number, content) for number, content in self.fields(data) if isinstance(content, memoryview))

    def model(self, data: memoryview) -> Graph:
        graphs, opset = [], 0
        for number, content in self.messages(data):
            if number == 7:
                graphs.append(self.graph(content, 0))
            elif number == 8:
                domain, version = self._opset(content)
                opset = max(opset, version) if domain in _STANDARD[:2] else opset
            elif number == 20:
                raise HostileError("the ONNX file holds training steps", remedy="export it for inference")
            elif number == 25:
                raise HostileError("the ONNX file defines functions", remedy="inline them (onnx.inliner)")
        if len(graphs) != 1 or not opset:
            raise _damaged("it has no graph or no operator set")
        return Graph(*graphs[0], opset, frozenset(self.operators))

    def graph(self, data: memoryview, depth: int) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        if depth > self.limits.depth:
            raise TooLargeError(f"the ONNX file nests graphs more than {self.limits.depth} deep")
        inputs, outputs, known = [], [], set()
        for number, content in self.messages(data):
            if number == 1:
                self._node(content, depth)
            elif number == 5:
                known.add(self._tensor(content))
            elif number == 15:
                known.add(self._sparse(content))
            elif number == 11:
                inputs.append(self._value(content))
            elif number == 12:
                outputs.append(self._value(content))
        return tuple(value for value in inputs if value.name not in known), tuple(outputs)

    def step(self, data: memoryview) -> Step:
        told: dict[int, list[str]] = {1: [], 2: [], 4: []}
        for number, content in self.messages(data):
            if number in told:
                told[number].append(_text(content))
        return Step("".join(told[4]), tuple(told[1]), tuple(told[2]))

    def _node(self, data: memoryview, depth: int) -> None:
        operator, domain = "", ""
        for number, content in self.messages(data):
            if number == 4:
                operator = _text(content)
            elif number == 7:
                domain = _text(content)
            elif number == 5:
                self._attribute(content, depth)
        if domain not in _STANDARD:
            raise HostileError(
                f"the ONNX file uses the operator {operator} of {domain}", remedy="export it with standard operators"
            )
        self.operators.add(operator)

    def _attribute(self, data: memoryview, depth: int) -> None:
        for number, content in self.messages(data):
            if number in (5, 10):
                self._tensor(content)
            elif number in (6, 11):
                self.graph(content, depth + 1)
            elif number in (22, 23):
                self._sparse(content)

    def _tensor(self, data: memoryview) -> str:
        name = ""
        for number, content in self.fields(data):
            if number == 13 or (number == 14 and content != 0):
                raise HostileError(
                    "the ONNX file keeps weights outside of itself", remedy="save it with all data in one file"
                )
            if number == 8 and isinstance(content, memoryview):
                name = _text(content)
        return name

    def _sparse(self, data: memoryview) -> str:
        names = [self._tensor(content) for number, content in self.messages(data) if number in (1, 2)]
        return names[0] if names else ""

    def _opset(self, data: memoryview) -> tuple[str, int]:
        domain, version = "", 0
        for number, content in self.fields(data):
            if number == 1 and isinstance(content, memoryview):
                domain = _text(content)
            elif number == 2 and isinstance(content, int):
                version = content
        return domain, version

    def _value(self, data: memoryview) -> Value:
        name, dtype = "", ""
        shape: tuple[int | None, ...] = ()
        for number, content in self.messages(data):
            if number == 1:
                name = _text(content)
            elif number == 2:
                dtype, shape = self._type(content)
        return Value(name, dtype, shape)

    def _type(self, data: memoryview) -> tuple[str, tuple[int | None, ...]]:
        dtype = ""
        shape: tuple[int | None, ...] = ()
        for number, content in self.messages(data):
            if number != 1:
                raise _damaged("an input or output is no tensor")
            for inner, told in self.fields(content):
                if inner == 1 and isinstance(told, int):
                    dtype = _TYPES.get(told, "")
                elif inner == 2 and isinstance(told, memoryview):
                    shape = tuple(self._dimension(one) for number, one in self.messages(told) if number == 1)
        return dtype, shape

    def _dimension(self, data: memoryview) -> int | None:
        return next((told for number, told in self.fields(data) if number == 1 and isinstance(told, int)), None)


def _varint(data: memoryview, at: int, most: int) -> tuple[int, int]:
    value = 0
    for place in range(most):
        if at + place >= len(data):
            raise _damaged("it ends early")
        byte = data[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise _damaged("a number has no end")


def _length(data: memoryview, at: int, wire: int) -> tuple[int, int]:
    if wire == 2:
        return _varint(data, at, 10)
    if wire in (1, 5):
        return (8 if wire == 1 else 4), at
    raise _damaged(f"wire type {wire}")


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        raise _damaged("a name is not text") from None


def _damaged(why: str) -> DamagedError:
    return DamagedError(f"the bytes are no ONNX model: {why}", remedy="get the file again")


@dataclass(frozen=True, slots=True)
class Step:
    """A node of a graph: its operator, and the tensors that it takes and gives."""

    operator: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]


def read_steps(data: bytes) -> list[Step]:
    """The nodes of our own graph as ONNX Runtime has written it after optimising, in order; subgraphs are left out."""
    walk = _Walk(DEFAULT)
    graphs = [content for number, content in walk.messages(memoryview(data)) if number == 7]
    return [walk.step(content) for graph in graphs for number, content in walk.messages(graph) if number == 1]
