"""Column lists that others rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.errors import NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

_SHAPE = (
    "Area",
    "BoundingBoxArea",
    "BoundingBoxMaximum_X",
    "BoundingBoxMaximum_Y",
    "BoundingBoxMinimum_X",
    "BoundingBoxMinimum_Y",
    "Center_X",
    "Center_Y",
    "Compactness",
    "ConvexArea",
    "Eccentricity",
    "EquivalentDiameter",
    "EulerNumber",
    "Extent",
    "FormFactor",
    "MajorAxisLength",
    "MaxFeretDiameter",
    "MaximumRadius",
    "MeanRadius",
    "MedianRadius",
    "MinFeretDiameter",
    "MinorAxisLength",
    "Orientation",
    "Perimeter",
    "Solidity",
)
_INTENSITY = (
    "IntegratedIntensity",
    "IntegratedIntensityEdge",
    "LowerQuartileIntensity",
    "MADIntensity",
    "MassDisplacement",
    "MaxIntensity",
    "MaxIntensityEdge",
    "MeanIntensity",
    "MeanIntensityEdge",
    "MedianIntensity",
    "MinIntensity",
    "MinIntensityEdge",
    "StdIntensity",
    "StdIntensityEdge",
    "UpperQuartileIntensity",
)
_NEIGHBORS = (
    "AngleBetweenNeighbors",
    "FirstClosestDistance",
    "FirstClosestObjectNumber",
    "NumberOfNeighbors",
    "PercentTouching",
    "SecondClosestDistance",
    "SecondClosestObjectNumber",
)
_TEXTURE = (
    "AngularSecondMoment",
    "Contrast",
    "Correlation",
    "DifferenceEntropy",
    "DifferenceVariance",
    "Entropy",
    "InfoMeas1",
    "InfoMeas2",
    "InverseDifferenceMoment",
    "SumAverage",
    "SumEntropy",
    "SumVariance",
    "Variance",
)

#: The CellProfiler columns of the published MitoCheck tables (WayScience mitocheck_data), without compartment, in the
#: order in which CellProfiler exports them: by code point, ``Granularity_10_DNA`` before ``Granularity_1_DNA``.
MITOCHECK_157 = tuple(
    sorted(
        [f"AreaShape_{name}" for name in _SHAPE]
        + [f"AreaShape_Zernike_{n}_{m}" for n in range(10) for m in range(n % 2, n + 1, 2)]
        + [f"Granularity_{i}_DNA" for i in range(1, 17)]
        + [f"Intensity_{name}_DNA" for name in _INTENSITY]
        + [f"Neighbors_{name}_Adjacent" for name in _NEIGHBORS]
        + [f"RadialDistribution_{n}_DNA_{k}of4" for n in ("FracAtD", "MeanFrac", "RadialCV") for k in range(1, 5)]
        + [f"Texture_{name}_DNA_3_{direction:02d}_256" for name in _TEXTURE for direction in range(4)]
    )
)


def select(table: pa.Table, *, compartment: str = "Nuclei", channel: str = "DNA", prefix: str = "") -> pa.Table:
    """The 157 published columns of `table`, in published order and under published names.

    Args:
        table: what :func:`phenostream.features.measure` gave, or any table with its columns.
        compartment: first word of the columns in `table`.
        channel: the channel that stands for the published ``DNA``.
        prefix: put before every name; the published normalised tables say ``CP__``.

    Raises:
        NotFoundError: `table` lacks one of them.
    """
    wanted = {f"{compartment}_{name.replace('_DNA', f'_{channel}')}": prefix + name for name in MITOCHECK_157}
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise NotFoundError(
            f"{len(missing)} of the 157 published columns are missing, first {missing[0]}",
            remedy=f"measure with the default families, compartment {compartment} and a channel {channel}",
        )
    return table.select(list(wanted)).rename_columns(list(wanted.values()))
