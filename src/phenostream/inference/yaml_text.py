"""YAML of strangers: plain values only, each said once."""

from __future__ import annotations

from typing import Any

import yaml

from phenostream.errors import DamagedError, HostileError, TooLargeError
from phenostream.inference.limits import DEFAULT

__all__ = ["read_yaml"]

_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")}


_DEPTH = 40


class _Loader(yaml.SafeLoader):
    """The safe loader, less aliases (bombs), other tags (objects) and keys given twice (two readers, two meanings)."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise HostileError("the description uses YAML aliases", remedy="write the values out")
        self.depth += 1
        if self.depth > _DEPTH:
            raise DamagedError(f"the description nests more than {_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and node.tag not in _PLAIN:
            raise HostileError(f"the description holds the YAML tag {node.tag}", remedy="use plain values only")
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(node.value):
                raise DamagedError("the description gives a key twice, or a key that is no text")
        return node


def read_yaml(data: bytes, *, most: int = DEFAULT.description_bytes) -> dict[str, Any]:
    """The mapping that `data` holds.

    Raises TooLargeError over `most` bytes, HostileError for aliases and tags, DamagedError for what is no YAML mapping.
    """
    if len(data) > most:
        raise TooLargeError(f"the description has {len(data):,} bytes, over the cap of {most:,}")
    try:
        told = yaml.load(data, Loader=_Loader)  # noqa: S506  (a narrower loader than the safe one)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, DamagedError | HostileError):
            raise
        raise DamagedError("the description is not YAML", remedy="get the package again") from error
    if not isinstance(told, dict):
        raise DamagedError("the description is not a YAML mapping", remedy="get the package again")
    return told
