"""Exporters: packed sites in the formats of other tools, and back.

An exporter is a module of this folder, or of the entry-point group ``phenostream.dataset_exporters``, with:

* ``Settings``: a frozen pydantic model whose field ``format: Literal["<name>"]`` says which exporter it configures;
* ``plan(pack, settings) -> list[Output]``: the files (or folders) to write, and which sites go into each, in order;
* ``write(path, pack, output, settings)``: write one of them to the temporary `path`;
* ``read(path, kind) -> Iterator[Example]``: the sites of one of them, in the order in which they were written.

What is common to all is in `phenostream.datasets.exporting`: atomic files, going on after a stop, the index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Example", "Kind", "Output"]


@dataclass(frozen=True, slots=True)
class Output:
    """One file or folder to write.

    Attributes:
        path: relative to the export, with the format's own suffix.
        indices: sites of the pack, in order.
        keys: names of the sites inside, where the format names them; in the same order.
    """

    path: str
    indices: tuple[int, ...]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """What is needed to read sites that do not describe themselves: (C, Y, X), type, and names of the channels."""

    shape: tuple[int, int, int]
    dtype: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One site read back: pixels (C, Y, X), and what the format itself says of it."""

    pixels: NDArray[Any]
    row: Mapping[str, Any] = field(default_factory=dict)
