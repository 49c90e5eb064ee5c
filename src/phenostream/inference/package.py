"""A model package: a folder that says what it is, file by file, and is believed only where the hashes agree."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenostream.errors import ChangedError, DamagedError, HostileError, NotFoundError, TooLargeError, WrongShapeError
from phenostream.inference.description import Description, describe
from phenostream.inference.graph import Graph, Value, read_graph
from phenostream.inference.limits import DEFAULT, Limits
from phenostream.inference.yaml_text import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["RDF", "Package", "content_hash", "open_package", "read_file"]

RDF = "rdf.yaml"
_FED = ("float32", "float16", "float64", "uint8", "uint16")


@dataclass(frozen=True)
class Package:
    """A verified package.

    Attributes:
        name: under which `find` knows it.
        folder: where it lies.
        description: of ``rdf.yaml``.
        graph: what the ONNX file says of itself.
        files: SHA-256 of every file by its path, ``rdf.yaml`` included.
        sha256: identity of the whole content, 64 hex digits: over the names and hashes of all files.
    """

    name: str
    folder: Path
    description: Description
    graph: Graph
    files: Mapping[str, str] = field(repr=False)
    sha256: str

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the input's channels, in order."""
        return self.description.input.channels

    @property
    def axes(self) -> str:
        """Of one image, as a word: ``cyx`` or ``czyx``."""
        return "c" + "".join(axis.id for axis in self.description.input.space)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(tensor.id for tensor in self.description.outputs)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the task that made it needs to know again (diameter, thresholds)."""
        return self.description.own.settings

    def read(self, path: str, *, limits: Limits = DEFAULT) -> bytes:
        """Bytes of one of its files, hashed again. Raises NotFoundError, ChangedError."""
        return _expected(self.folder, path, self.files[path], limits)


def open_package(folder: str | os.PathLike[str], *, name: str | None = None, limits: Limits = DEFAULT) -> Package:
    """The package in `folder`, after its description, hashes and ONNX file have been looked through.

    Nothing is loaded: no ONNX Runtime session exists when this returns or raises.

    Raises:
        NotFoundError: no folder, no description, or a file that it names is missing.
        ChangedError: a file is not what the description says; the message names it.
        HostileError: files outside of the folder, links, YAML tags, external data, operators of strangers.
        DamagedError: a description or an ONNX file that is none.
        TooLargeError: over the `limits`.
        WrongShapeError: description and graph disagree on channels, axes or types.
    """
    root = Path(folder)
    rdf = read_file(root, RDF, limits.description_bytes)
    description = describe(read_yaml(rdf, most=limits.description_bytes))
    if len(description.files) > limits.files:
        raise TooLargeError(f"the description names {len(description.files):,} files, over the cap of {limits.files}")
    onnx = description.weights.onnx.source
    for path, sha256 in description.files.items():
        data = _expected(root, path, sha256, limits, onnx=onnx)
        if path == onnx:
            graph = read_graph(data, limits=limits)
    _check(description, graph)
    files = {RDF: hashlib.sha256(rdf).hexdigest(), **description.files}
    return Package(name or description.own.name or root.name, root, description, graph, files, content_hash(files))


def content_hash(files: Mapping[str, str]) -> str:
    """SHA-256 over the sorted names and hashes of `files`: content only, not place or time."""
    return hashlib.sha256(json.dumps(sorted(files.items()), separators=(",", ":")).encode()).hexdigest()


def read_file(root: Path, path: str, most: int) -> bytes:
    """Bytes of the regular file `path` below `root`, where no part of the way is a link."""
    place = root
    for part in path.split("/"):
        place = place / part
        if place.is_symlink():
            raise HostileError(f"{path} is a link", remedy="put the file itself into the package")
    try:
        with open(place, "rb", opener=_no_waiting) as file:
            told = os.fstat(file.fileno())
            if not stat.S_ISREG(told.st_mode):
                raise HostileError(f"{path} is not a regular file")
            if told.st_size > most:
                raise TooLargeError(f"{path} has {told.st_size:,} bytes, over the cap of {most:,}")
            return file.read(most)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise NotFoundError(f"{path} is missing from {root}", remedy="get the package again") from None


def _no_waiting(path: str, flags: int) -> int:
    # A named pipe would make an honest open wait for ever.
    return os.open(path, flags | os.O_NONBLOCK)


def _expected(root: Path, path: str, sha256: str, limits: Limits, *, onnx: str = "") -> bytes:
    data = read_file(root, path, limits.onnx_bytes if path == onnx else limits.file_bytes)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ChangedError(f"{path} in {root} is not what the package says", remedy="get the package again")
    return data


def _check(description: Description, graph: Graph) -> None:
    """Compare what the description and the graph say of inputs and outputs."""
    for what, told, found in (
        ("input", description.inputs, graph.inputs),
        ("output", description.outputs, graph.outputs),
    ):
        if len(told) != len(found):
            raise WrongShapeError(f"the description has {len(told)} {what}s, the ONNX file {len(found)}")
        for tensor, value in zip(told, found, strict=True):
            _check_axes(f"{what} {tensor.id}", [axis.type for axis in tensor.axes], len(tensor.channels), value)
    if graph.inputs[0].dtype not in _FED:
        raise DamagedError(f"the graph wants {graph.inputs[0].dtype or 'a type unknown here'}", remedy="export float32")


def _check_axes(what: str, kinds: Sequence[str], channels: int, value: Value) -> None:
    if len(value.shape) != len(kinds):
        raise WrongShapeError(f"{what} has {len(kinds)} axes in the description, {len(value.shape)} in the ONNX file")
    if value.shape[1] not in (None, channels):
        raise WrongShapeError(f"{what} has {channels} channels in the description, {value.shape[1]} in the ONNX file")
