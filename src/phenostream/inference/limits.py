"""What a model package may claim: compared with these caps before anything is parsed, allocated or loaded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on a model package.

    Attributes:
        description_bytes: length of ``rdf.yaml``.
        onnx_bytes: length of the ONNX file; protobuf itself ends at 2 GiB.
        file_bytes: length of any other file.
        files: number of files.
        fields: protobuf fields that are looked at in an ONNX file.
        depth: graphs within graphs (branches of ``If``, bodies of ``Loop``).
    """

    description_bytes: int = 256 * 2**10
    onnx_bytes: int = 2**30
    file_bytes: int = 2**30
    files: int = 200
    fields: int = 5_000_000
    depth: int = 8


DEFAULT = Limits()
