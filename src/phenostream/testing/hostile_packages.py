"""Hostile model packages: an honest one turned so that it must be refused before anything of it is loaded."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from phenostream.errors import (
    ChangedError,
    DamagedError,
    HostileError,
    NotFoundError,
    PhenostreamError,
    TooLargeError,
    WrongShapeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["HOSTILE_PACKAGES", "HostilePackage"]


@dataclass(frozen=True)
class HostilePackage:
    """A package that must be refused before anything of it is loaded: how an honest one is turned, and the error."""

    turn: Callable[[Path], None]
    error: type[PhenostreamError]


def _told(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the description."""

    def turn(folder: Path) -> None:
        told = yaml.safe_load((folder / "rdf.yaml").read_bytes())
        change(told)
        (folder / "rdf.yaml").write_text(yaml.safe_dump(told))

    return turn


def _text(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the bytes of the description."""

    def turn(folder: Path) -> None:
        (folder / "rdf.yaml").write_bytes(change((folder / "rdf.yaml").read_bytes()))

    return turn


def _onnx(make: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Put other bytes in the place of the ONNX file, and hash them honestly."""

    def turn(folder: Path) -> None:
        data = make((folder / "model.onnx").read_bytes())
        (folder / "model.onnx").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        _told(lambda told: told["weights"]["onnx"].update(sha256=sha256))(folder)

    return turn


def _graph(change: Callable[[Any], object]) -> Callable[[Path], None]:
    """Change the ONNX model as `onnx` reads it."""

    def make(data: bytes) -> bytes:
        import onnx  # noqa: PLC0415

        model = onnx.load_model_from_string(data)
        change(model)
        return bytes(model.SerializeToString())

    return _onnx(make)


def _outside(location: str) -> Callable[[Any], None]:
    """Keep the first tensor's numbers in another file."""

    def change(model: Any) -> None:
        _external(model.graph.initializer[0], location)

    return change


def _external(tensor: Any, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


def _outside_in_constant(model: Any) -> None:
    from onnx import helper  # noqa: PLC0415

    tensor = helper.make_tensor("secret", 1, [1], b"\0\0\0\0", raw=True)
    _external(tensor, "/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def _outside_in_branch(model: Any) -> None:
    from onnx import helper  # noqa: PLC0415

    tensor = helper.make_tensor("secret", 1, [1], b"\0\0\0\0", raw=True)
    _external(tensor, "../../secret")
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("secret", 1, [1])], [tensor])
    model.graph.node.append(helper.make_node("If", ["flag"], ["chosen"], then_branch=branch, else_branch=branch))


def _outside_in_sparse(model: Any) -> None:
    from onnx import helper  # noqa: PLC0415

    values, indices = (helper.make_tensor(name, kind, [1], bytes(4 * kind if kind == 1 else 8), raw=True)
                       for name, kind in (("v", 1), ("i", 7)))  # fmt: skip
    _external(values, "secret")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def _foreign_operator(model: Any) -> None:
    model.graph.node[0].domain = "com.evil"
    model.opset_import.add(domain="com.evil", version=1)


def _function(model: Any) -> None:
    model.functions.add(name="f", domain="local")


def _nested(model: Any) -> None:
    from onnx import helper  # noqa: PLC0415

    graph = helper.make_graph([], "leaf", [], [])
    for _ in range(12):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["d"], then_branch=graph)], "nest", [], [])
    model.graph.node.append(graph.node[0])


def _link(path: str, target: str) -> Callable[[Path], None]:
    def turn(folder: Path) -> None:
        (folder.parent / "secret").write_bytes((folder / path).read_bytes())
        (folder / path).unlink()
        (folder / path).symlink_to(target)

    return turn


def _pipe(folder: Path) -> None:
    (folder / "LICENSE").unlink()
    os.mkfifo(folder / "LICENSE")


def _giant(folder: Path) -> None:
    os.truncate(folder / "model.onnx", 2**30 + 1)


def _gone(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _altered(folder: Path) -> None:
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _three_channels(told: dict[str, Any]) -> None:
    told["inputs"][0]["axes"][1]["channel_names"] = ["r", "g", "b"]


def _source(path: str) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["weights"]["onnx"].update(source=path)


_BOMB = b"".join(
    [b"\nboom0: &b0 [x, x]", *(b"\nboom%d: &b%d [*b%d, *b%d]" % (n, n, n - 1, n - 1) for n in range(1, 40))]
)

#: Ways to turn an honest package; each is refused by a named error before an ONNX Runtime session exists.
HOSTILE_PACKAGES: dict[str, HostilePackage] = {
    "file-missing": HostilePackage(_gone, NotFoundError),
    "file-altered": HostilePackage(_altered, ChangedError),
    "description-missing": HostilePackage(lambda folder: (folder / "rdf.yaml").unlink(), NotFoundError),
    "wrong-channel-count": HostilePackage(_told(_three_channels), WrongShapeError),
    "wrong-axes": HostilePackage(_told(lambda told: told["inputs"][0]["axes"].pop()), DamagedError),
    "steps-outside-the-graph": HostilePackage(
        _told(lambda told: told["inputs"][0].update(preprocessing=[{"id": "scale_range"}])), DamagedError
    ),
    "path-absolute": HostilePackage(_told(_source("/etc/passwd")), HostileError),
    "path-up": HostilePackage(_told(_source("../secret")), HostileError),
    "path-backslash": HostilePackage(_told(_source("..\\secret")), HostileError),
    "path-url": HostilePackage(_told(_source("https://example.org/model.onnx")), HostileError),
    "link-out": HostilePackage(_link("LICENSE", "../secret"), HostileError),
    "link-absolute": HostilePackage(_link("LICENSE", "/etc/passwd"), HostileError),
    "link-description": HostilePackage(_link("rdf.yaml", "../secret"), HostileError),
    "named-pipe": HostilePackage(_pipe, HostileError),
    "yaml-object": HostilePackage(_text(lambda data: data + b"\nx: !!python/name:os.system"), HostileError),
    "yaml-alias-bomb": HostilePackage(_text(lambda data: data + _BOMB), HostileError),
    "yaml-key-twice": HostilePackage(_text(lambda data: data + b"\ntype: model\n"), DamagedError),
    "yaml-deep": HostilePackage(_text(lambda _: b"[" * 100_000), DamagedError),
    "yaml-giant": HostilePackage(_text(lambda data: data + b"#" * 2**20), TooLargeError),
    "yaml-binary": HostilePackage(_text(lambda _: b"\xff\xfe\x00\x01"), DamagedError),
    "yaml-list": HostilePackage(_text(lambda _: b"- model"), DamagedError),
    "old-format": HostilePackage(_told(lambda told: told.update(format_version="0.4.10")), DamagedError),
    "external-data-told": HostilePackage(
        _told(lambda told: told["weights"]["onnx"].update(external_data={"source": "x", "sha256": "0" * 64})),
        HostileError,
    ),
    "onnx-external-absolute": HostilePackage(_graph(_outside("/etc/passwd")), HostileError),
    "onnx-external-up": HostilePackage(_graph(_outside("../secret")), HostileError),
    "onnx-external-beside": HostilePackage(_graph(_outside("weights.bin")), HostileError),
    "onnx-external-constant": HostilePackage(_graph(_outside_in_constant), HostileError),
    "onnx-external-branch": HostilePackage(_graph(_outside_in_branch), HostileError),
    "onnx-external-sparse": HostilePackage(_graph(_outside_in_sparse), HostileError),
    "onnx-foreign-operator": HostilePackage(_graph(_foreign_operator), HostileError),
    "onnx-function": HostilePackage(_graph(_function), HostileError),
    "onnx-training": HostilePackage(_graph(lambda model: model.training_info.add()), HostileError),
    "onnx-nested": HostilePackage(_graph(_nested), TooLargeError),
    "onnx-giant": HostilePackage(_giant, TooLargeError),
    "onnx-empty": HostilePackage(_onnx(lambda _: b""), DamagedError),
    "onnx-text": HostilePackage(_onnx(lambda _: b"import os; os.system('id')"), DamagedError),
    "onnx-pickle": HostilePackage(_onnx(lambda _: pickle.dumps({"state": 1})), DamagedError),
    "onnx-truncated": HostilePackage(_onnx(lambda data: data[: len(data) // 2]), DamagedError),
    "onnx-length-lie": HostilePackage(_onnx(lambda data: data + b"\x3a\xff\xff\xff\xff\x0f"), DamagedError),
    "onnx-endless-number": HostilePackage(_onnx(lambda data: data + b"\x08" + b"\xff" * 20), DamagedError),
    "onnx-group": HostilePackage(_onnx(lambda data: data + struct.pack("B", 0x0B)), DamagedError),
    "onnx-two-graphs": HostilePackage(_onnx(lambda data: data + data), DamagedError),
}
