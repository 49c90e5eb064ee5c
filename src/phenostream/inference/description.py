"""What ``rdf.yaml`` says: the part of a bioimage.io model description (0.5) that predicting with the model needs.

Field names are the specification's, https://bioimage.io/docs; what phenostream adds lies under ``config.phenostream``.
The official validator judges the whole file; here only what is used is looked at, and more strictly.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from phenostream.errors import DamagedError, HostileError
from phenostream.values import recipes

__all__ = ["Axis", "Description", "File", "Tensor", "describe"]

_PARTS_OUT = {"", ".", ".."}
_KEPT_IN_GRAPH = {"ensure_dtype"}

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class File(_Part):
    """A file of the package: its path relative to the folder, and the SHA-256 of its bytes."""

    source: str
    sha256: Sha256

    @field_validator("source")
    @classmethod
    def source_stays_in_the_folder(cls, source: str) -> str:
        """A relative POSIX path, no URL."""
        if re.search(r"[\\:\x00-\x1f]", source) or _PARTS_OUT & set(source.split("/")):
            raise HostileError(f"the description names {source!r}, a file outside of its folder")
        return source


class Size(_Part):
    """Lengths that an axis may have: ``min`` plus a multiple of ``step``."""

    min: int = Field(gt=0)
    step: int = Field(gt=0)


class Reference(_Part):
    """A length that follows that of another axis."""

    tensor_id: str
    axis_id: str
    offset: int = 0


class DataDependent(_Part):
    """A length that nobody knows before."""

    min: int = 1
    max: int | None = None


class Axis(_Part):
    """One axis of a tensor; lengths in pixels, `scale` in `unit` a pixel, `halo` to be cropped from each side."""

    type: Literal["batch", "channel", "index", "time", "space"]
    id: str = ""
    size: Annotated[int, Field(gt=0, strict=True)] | Size | Reference | DataDependent | None = None
    channel_names: tuple[str, ...] = ()
    scale: float = Field(1.0, gt=0)
    unit: str | None = None
    halo: int | None = Field(None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def id_defaults_to_type(cls, told: Any) -> Any:
        """As the specification has it."""
        if isinstance(told, dict) and not told.get("id"):
            return {**told, "id": "x" if told.get("type") == "space" else told.get("type", "")}
        return told


class _Step(_Part):
    id: str


class Tensor(_Part):
    """An input or output; the order of `axes` is that of the array."""

    id: str
    description: str = ""
    axes: tuple[Axis, ...] = Field(min_length=2)
    test_tensor: File
    steps: tuple[_Step, ...] = Field((), alias="preprocessing")
    after: tuple[_Step, ...] = Field((), alias="postprocessing")

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order; empty without a channel axis."""
        return next((axis.channel_names for axis in self.axes if axis.type == "channel"), ())

    @property
    def space(self) -> tuple[Axis, ...]:
        """The axes of space, in order."""
        return tuple(axis for axis in self.axes if axis.type == "space")

    @model_validator(mode="after")
    def batch_then_channel_then_space(self) -> Tensor:
        """The one order of axes that arrays have here: (N, C, [Z,] Y, X), outputs also (N, C)."""
        kinds = [axis.type for axis in self.axes]
        if kinds != ["batch", "channel", *["space"] * (len(kinds) - 2)] or len(kinds) > 5:
            raise ValueError("axes must be batch, channel and up to three of space, in this order")
        if not self.channels:
            raise ValueError("the channel axis names no channels")
        return self

    @model_validator(mode="after")
    def normalisation_lives_in_the_graph(self) -> Tensor:
        """Steps around the graph would be a second model that nobody exported."""
        outside = sorted({step.id for step in (*self.steps, *self.after)} - _KEPT_IN_GRAPH)
        if outside:
            raise ValueError(f"steps outside of the graph are not supported: {', '.join(outside)}")
        return self


class Onnx(File):
    """The ONNX file."""

    opset_version: int = 0
    external_data: Any = None

    @field_validator("external_data")
    @classmethod
    def all_in_one_file(cls, external: Any) -> None:
        """Weights outside of the ONNX file are not followed."""
        if external is not None:
            raise HostileError("the description names external data", remedy="save the model in one file")


class Weights(_Part):
    """Of the formats that the specification knows, ONNX is the one that is used."""

    onnx: Onnx


class Own(_Part):
    """What phenostream adds: its name, settings of the task it was made for, and how it may be tiled.

    `minimum` is the shortest length that the network takes; the specification's own must leave room for halos.
    """

    name: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    tileable: bool = False
    minimum: tuple[Annotated[int, Field(gt=0)], ...] = ()
    training: File | None = None
    metrics: File | None = None
    weights: File | None = None


class _Config(_Part):
    phenostream: Own = Field(default_factory=Own)


class Description(_Part):
    """One ``rdf.yaml``."""

    type: Literal["model"]
    format_version: Annotated[str, StringConstraints(pattern=r"^0\.5\.\d+$")]
    name: str
    description: str = ""
    license: str | None = None
    version: str | int | float | None = None
    authors: tuple[dict[str, Any], ...] = ()
    cite: tuple[dict[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    documentation: File | None = None
    attachments: tuple[File, ...] = ()
    inputs: tuple[Tensor, ...] = Field(min_length=1, max_length=1)
    outputs: tuple[Tensor, ...] = Field(min_length=1)
    weights: Weights
    config: _Config = Field(default_factory=_Config)

    @property
    def own(self) -> Own:
        """What lies under ``config.phenostream``."""
        return self.config.phenostream

    @property
    def input(self) -> Tensor:
        """The one image that goes in."""
        return self.inputs[0]

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of every file that the description names, by path."""
        own = (self.own.training, self.own.metrics, self.own.weights)
        tensors = [tensor.test_tensor for tensor in (*self.inputs, *self.outputs)]
        named = [self.weights.onnx, *tensors, *self.attachments, self.documentation, *own]
        return {file.source: file.sha256 for file in named if file is not None}

    @property
    def ratios(self) -> dict[str, tuple[Fraction, ...]]:
        """By output: its pixels a pixel of the input, one entry an axis of space; empty for outputs without space."""
        by_axis = {axis.id: axis for axis in self.input.space}
        return {
            tensor.id: tuple(_ratio(by_axis[_referred(axis, self.input.id)].scale, axis.scale) for axis in tensor.space)
            for tensor in self.outputs
        }

    @model_validator(mode="after")
    def one_hash_a_file(self) -> Description:
        """The same path twice must mean the same bytes."""
        own = (self.own.training, self.own.metrics, self.own.weights)
        tensors = [tensor.test_tensor for tensor in (*self.inputs, *self.outputs)]
        for file in (self.weights.onnx, *tensors, *self.attachments, self.documentation, *own):
            if file is not None and self.files[file.source] != file.sha256:
                raise ValueError(f"{file.source} is given two hashes")
            if file is not None and file.source == "rdf.yaml":
                raise ValueError("the description names itself")
        return self

    @model_validator(mode="after")
    def lengths_of_the_input_are_told(self) -> Description:
        """Each axis of the input's space by itself; own minima an axis each."""
        space = self.input.space
        if not all(isinstance(axis.size, int | Size) for axis in space):
            raise ValueError("an axis of the input has no size of its own")
        if len(self.own.minimum) not in (0, len(space)):
            raise ValueError(f"minimum has {len(self.own.minimum)} entries for {len(space)} axes")
        return self

    @model_validator(mode="after")
    def names_are_given_once(self) -> Description:
        """Of tensors, and of the axes of each."""
        tensors = (*self.inputs, *self.outputs)
        for names in ([one.id for one in tensors], *([axis.id for axis in one.axes] for one in tensors)):
            if len(set(names)) < len(names):
                raise ValueError(f"a name is given twice: {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def outputs_follow_the_input(self) -> Description:
        """An output has all axes of the input's space, in its order, or none."""
        names = [axis.id for axis in self.input.space]
        for tensor in self.outputs:
            if tensor.space and [_referred(axis, self.input.id) for axis in tensor.space] != names:
                raise ValueError(f"the axes of {tensor.id} do not follow those of the input")
        return self


def describe(told: dict[str, Any]) -> Description:
    """The description that a mapping holds. Raises DamagedError with every fault, HostileError for paths that leave."""
    try:
        return Description.model_validate(told)
    except ValidationError as error:
        for one in error.errors():
            if isinstance(hostile := one.get("ctx", {}).get("error"), HostileError):
                raise hostile from None
        raise DamagedError(
            f"the description does not fit: {recipes.faults(error, most=5)}",
            remedy="see docs/models.md for what a package holds",
        ) from error


def _referred(axis: Axis, tensor: str) -> str:
    if isinstance(axis.size, Reference):
        if axis.size.tensor_id != tensor or axis.size.offset:
            raise ValueError(f"the size of axis {axis.id} must follow the input, without an offset")
        return axis.size.axis_id
    return axis.id


def _ratio(scale_in: float, scale_out: float) -> Fraction:
    return (Fraction(scale_in) / Fraction(scale_out)).limit_denominator(64)
