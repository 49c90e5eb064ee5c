"""What a foreign column is: every rule by which names are read stands here, and nowhere else.

Rows that this package made say themselves what their columns are. Tables of other programs carry their meaning in their
names; they are read once, on import, and from then on the schema decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

COMPARTMENTS = ("Nuclei", "Cells", "Cytoplasm")

_PROGRAM = r"(?:(?:CP|DP)__)?"
#: Bookkeeping of CellProfiler and of tables made from it: numbers that describe no cell.
_BOOKKEEPING = re.compile(
    r"ImageNumber|ObjectNumber|TableNumber|Number_Object_Number|Parent_\w+|Children_\w+_Count|Count_\w+|Group_\w+"
    r"|(?:FileName|PathName|URL|MD5Digest|Frame|Series|Scaling|Height|Width|Channel)_\w+"
    r"|ExecutionTime_\w+|ModuleError_\w+|ProcessingStatus|Classify_\w+"
)
_POSITIONAL = re.compile(
    r"AreaShape_(?:Center_[XYZ]|BoundingBox(?:Minimum|Maximum)_[XYZ]|Orientation)"
    r"|Location_\w+|Neighbors_(?:First|Second)ClosestObjectNumber_\w+"
)
_EMBEDDING = re.compile(r"(?P<family>efficientnet|DP|embedding|[A-Za-z][A-Za-z0-9-]*)_(?P<number>\d+)")
_CHANNEL = (
    re.compile(r"Intensity_[A-Za-z0-9]+_(?P<channel>\w+)"),
    re.compile(r"Granularity_\d+_(?P<channel>\w+)"),
    re.compile(r"Texture_[A-Za-z0-9]+_(?P<channel>\w+?)_\d+_\d+(?:_\d+)?"),
    re.compile(r"RadialDistribution_[A-Za-z0-9]+_(?P<channel>\w+?)_\d+of\d+"),
    re.compile(r"RadialDistribution_Zernike(?:Magnitude|Phase)_(?P<channel>\w+?)_\d+_\d+"),
    re.compile(r"Correlation_[A-Za-z0-9]+_(?P<channel>\w+)"),
    re.compile(r"Location_[A-Za-z]+_[XYZ]_(?P<channel>\w+)"),
)


def column_of(name: str, *, numeric: bool = True, compartments: Sequence[str] = COMPARTMENTS) -> Column:
    """What a column is, from its name in CellProfiler's, DeepProfiler's and pycytominer's ways of naming.

    Args:
        name: ``Nuclei_AreaShape_Area``, ``CP__Texture_Entropy_DNA_3_00_256``, ``efficientnet_12``,
            ``Image_Metadata_Well``, ``Metadata_Plate`` ...
        numeric: whether it holds numbers; what does not is no feature.
        compartments: first words that name an object.

    Returns:
        ``feature`` where a known compartment or measurement family begins the name, or a word and a number make it;
        ``qc`` for numbers about the image; ``metadata`` for all else.
    """
    rest = re.sub(rf"^{_PROGRAM}", "", name)
    if not numeric or rest.startswith(("Metadata_", "Image_Metadata_")):
        return Column(name, "metadata")
    if rest.startswith("Image_"):
        family = _family(rest.removeprefix("Image_"))
        return Column(name, "qc" if family in _IMAGE_NUMBERS else "metadata", "Image", family)
    # Of Nuclei and Nuclei_Dividing the longer one begins the name of its own columns.
    compartment = max((word for word in compartments if rest.startswith(f"{word}_")), key=len, default="")
    measured = rest.removeprefix(f"{compartment}_")
    # CellProfiler copies an image's metadata into its object tables on request.
    if measured.startswith("Metadata_") or _BOOKKEEPING.fullmatch(measured):
        return Column(name, "metadata", compartment)
    if not compartment and measured.startswith("Location_Center_"):
        return Column(name, "metadata", family="Location", unit="px", positional=True)
    return _feature(name, measured, compartment)


def described(table: pa.Table, *, features: Iterable[str] = (), compartments: Sequence[str] = COMPARTMENTS) -> pa.Table:
    """`table` with a role on every column: those in `features` are features, the others by :func:`column_of`.

    Descriptions that a column already carries stay.
    """
    import pyarrow as pa  # noqa: PLC0415  (heavy)

    named = set(features)
    told = []
    for field in table.schema:
        if field.metadata and b"phenostream" in field.metadata:
            continue
        kind = field.type
        numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)
        found = column_of(field.name, numeric=numeric, compartments=compartments)
        if field.name in named and found.role != "feature":
            found = Column(field.name, "feature")
        told.append(found)
    return with_columns(table, told)


def _feature(name: str, measured: str, compartment: str) -> Column:
    if not compartment and (found := _EMBEDDING.fullmatch(measured)) and found["family"] not in _FAMILIES:
        return Column(name, "feature", family=found["family"])
    family = _family(measured)
    if not compartment and family not in _FAMILIES:
        return Column(name, "metadata")
    channel = next((found["channel"] for rule in _CHANNEL if (found := rule.fullmatch(measured))), "")
    return Column(name, "feature", compartment, family, channel, positional=bool(_POSITIONAL.fullmatch(measured)))


def _family(measured: str) -> str:
    return measured.split("_", 1)[0]


_FAMILIES = frozenset({
    "AreaShape", "Intensity", "Texture", "Granularity", "RadialDistribution", "Correlation", "Neighbors", "Location",
    "ObjectSkeleton", "Math",
})  # fmt: skip
#: What CellProfiler measures of whole images; all else in an image table names files, settings and modules.
_IMAGE_NUMBERS = frozenset({
    "AreaOccupied", "Classify", "Correlation", "Count", "Crop", "ExecutionTime", "Granularity", "ImageQuality",
    "Intensity", "Math", "Mean", "Median", "StDev", "Texture", "Threshold",
})  # fmt: skip
