"""From crops to a table of cells: classical features of the cell and its surroundings, scattering, an embedding."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from phenostream.errors import WrongShapeError
from phenostream.features import MeasureSettings, measure
from phenostream.profiles.phenotypes.masks import CropMasks, crop_masks
from phenostream.profiles.phenotypes.scattering import scattering, scattering_names
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from phenostream.profiles.phenotypes.crops import Crops

_TOGETHER = 64
_SPOTS, _LEVELS, _BLOBS = (1.0, 2.0, 3.0), (0.3, 0.5, 0.7, 0.9), (1.0, 1.5, 2.0, 3.0, 4.0)
_SHAPES = (
    "size_shape",
    "feret",
    "zernike",
    "granularity",
    "intensity",
    "radial_distribution",
    "texture",
    "radial_zernike",
)
_SURROUNDINGS = ("granularity", "intensity", "texture")


class DescribeSettings(BaseModel):
    """What is told of each crop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: tuple[str, ...] = Field(
        _SHAPES,
        description="feature families of the central object and of it with its fragments; none: no such columns",
    )
    surroundings: tuple[str, ...] = Field(
        _SURROUNDINGS, description="families of the whole crop, neighbours included; none: no such columns"
    )
    texture_scales: tuple[int, ...] = Field((1, 3, 5), description="distances in pixels of the texture families")
    pieces: bool = Field(True, description="numbers of fragments, spots and blobs")
    scattering: bool = Field(True, description="scattering coefficients, which need no training")
    embedding: str = Field(
        "", description="a model package that embeds crops of this size, by name or folder; none: empty"
    )
    channel: str = Field("DNA", description="name of the crops' channel, the last word of columns about intensity")


def describe(
    crops: Crops | NDArray[Any],
    settings: DescribeSettings | None = None,
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """One row a crop, in their order; the schema says what each column is.

    The cell is found in every crop alone (:func:`.masks.crop_masks`); nothing is fitted and no crop sees another.

    Args:
        crops: :class:`.crops.Crops`, whose metadata columns come first; or pixels (N, Y, X), uint8 or uint16.
        settings: what to tell.
        threads: of the embedding's model.
        progress: called with crops done and crops in all.

    Returns:
        float32 features: ``Nuclei_*`` (central object), ``Group_*`` (with its fragments), ``Crop_*`` (all of it),
        ``Pieces_*``, ``Scattering_*``, ``<model>_*``; NaN where a crop does not define one.

    Raises:
        WrongShapeError: pixels are not (N, Y, X), or not of the size that the model embeds.
        RecipeError: an unknown family. NotFoundError: no such model.
    """
    chosen = settings or DescribeSettings()
    pixels = crops if isinstance(crops, np.ndarray) else crops.pixels
    if pixels.ndim != 3 or not len(pixels):
        raise WrongShapeError(f"crops of shape {pixels.shape}, not (N, Y, X) with N above 0")
    parts = []
    for start in range(0, len(pixels), _TOGETHER):
        parts.append(_described(pixels[start : start + _TOGETHER], chosen, threads))
        if progress:
            progress(min(start + _TOGETHER, len(pixels)), len(pixels))
    features = pa.concat_tables(parts).combine_chunks()
    if isinstance(crops, np.ndarray):
        return features
    told = [Column(name, role="metadata") for name in crops.table.column_names]
    joined = pa.table({
        **{name: crops.table.column(name) for name in crops.table.column_names},
        **{name: features.column(name) for name in features.column_names},
    })  # fmt: skip
    return with_columns(joined, [*told, *columns_of(features.schema)])


def _described(pixels: NDArray[Any], chosen: DescribeSettings, threads: int) -> pa.Table:
    masks = [crop_masks(crop) for crop in pixels]
    blocks: list[tuple[list[Column], NDArray[Any]]] = []
    for compartment, families, pick in (
        ("Nuclei", chosen.families, attrgetter("central")),
        ("Group", chosen.families, attrgetter("group")),
        ("Crop", chosen.surroundings, _everything),
    ):
        if families:
            measured = [
                measure(
                    crop, pick(mask), (chosen.channel,), settings=_measuring(chosen, families), compartment=compartment
                )
                for crop, mask in zip(pixels, masks, strict=True)
            ]
            blocks.append(_block(pa.concat_tables(measured)))
    if chosen.pieces:
        blocks.append(_pieces(zip(pixels, masks, strict=True), chosen.channel))
    if chosen.scattering:
        names = [Column(f"Scattering_{name}", family="Scattering", unit="1") for name in scattering_names()]
        blocks.append((names, scattering(pixels)))
    if chosen.embedding:
        blocks.append(_embedded(pixels, chosen.embedding, threads))
    return _table(blocks)


def _everything(masks: CropMasks) -> NDArray[np.bool_]:
    return np.ones(masks.central.shape, bool)


def _measuring(chosen: DescribeSettings, families: tuple[str, ...]) -> MeasureSettings:
    parameters = {"texture": {"scales": chosen.texture_scales}} if "texture" in families else {}
    return MeasureSettings(families=families, parameters=parameters)


def _block(table: pa.Table) -> tuple[list[Column], NDArray[Any]]:
    columns = [column for column in columns_of(table.schema) if column.role == "feature"]
    return columns, np.column_stack([table.column(column.name).to_numpy() for column in columns])


def _pieces(crops: Iterable[tuple[NDArray[Any], CropMasks]], channel: str) -> tuple[list[Column], NDArray[Any]]:
    rows = [_piece_numbers(np.asarray(crop, np.float64), masks) for crop, masks in crops]
    names = [
        Column(f"Pieces_{name}", compartment="Pieces", family="Pieces", channel=channel, unit="1") for name in rows[0]
    ]
    return names, np.array([list(row.values()) for row in rows])


def _piece_numbers(crop: NDArray[np.float64], masks: CropMasks) -> dict[str, float]:
    central, group, bright = masks.central, masks.group, masks.pieces > 0
    inside = masks.smooth[central].mean()
    outside = masks.smooth[~bright].mean() if not bright.all() else 0.0
    told: dict[str, float] = {
        "Count": float(masks.pieces.max()),
        "CountInGroup": float(len(np.unique(masks.pieces[group]))),
        "Area": float(bright.sum()),
        "CentralShare": central.sum() / group.sum(),
        "GroupShare": group.sum() / bright.sum(),
        "Threshold": masks.threshold,
        "Contrast": inside - outside,
    }
    slope = ndimage.gaussian_gradient_magnitude(crop, 1.0)
    told["Sharpness"] = slope.max() / max(masks.smooth.max(), 1e-6)
    told["MeanSharpness"] = slope[central].mean() / max(inside, 1e-6)
    for width in _BLOBS:
        blobs = np.abs(ndimage.gaussian_laplace(crop, width)) * width**2
        told[f"Blobs_{width:g}"] = blobs[central].mean() / max(inside, 1e-6)
    for width in _SPOTS:
        calm = ndimage.gaussian_filter(crop, width)
        told[f"Spots_{width:g}"] = float(((ndimage.maximum_filter(calm, 5) == calm) & group).sum())
    top = crop[group].max()
    for level in _LEVELS:
        above = crop > level * top
        told[f"Above_{level:g}"] = float(above[group].mean())
        told[f"PiecesAbove_{level:g}"] = float(ndimage.label(above)[1])
    return told


def _embedded(pixels: NDArray[Any], model: str, threads: int) -> tuple[list[Column], NDArray[Any]]:
    from phenostream.features.deep.embedding import embed_crops  # noqa: PLC0415  (loads the runtime)

    values = embed_crops(pixels, model=model, threads=threads)
    name = model.rstrip("/").rsplit("/", 1)[-1]
    return [Column(f"{name}_{place}", family="embedding", unit="1") for place in range(values.shape[1])], values


def _table(blocks: list[tuple[list[Column], NDArray[Any]]]) -> pa.Table:
    columns = [column for told, _ in blocks for column in told]
    arrays = [pa.array(column.astype(np.float32)) for _, values in blocks for column in values.T]
    return with_columns(pa.table(arrays, names=[column.name for column in columns]), columns)
