"""Read a CellProfiler pipeline (``.cppipe``): what it measures becomes settings, what cannot be mapped is listed."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phenostream.errors import DamagedError, TooLargeError
from phenostream.features.settings import MeasureSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LARGEST = 16 << 20
_HEAD = re.compile(r"^(\w+):\[(.*)\]\s*$")
_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})")
_OBJECTS = (
    "Select objects to measure",
    "Select object sets to measure",
    "Select an object to measure",
    "Select the seed objects",
)
_IMAGES = ("Select an image to measure", "Select images to measure", "Select the skeletonized image")
_NEIGHBORS = {
    "adjacent": {"method": "adjacent"},
    "expand until adjacent": {"method": "expand"},
    "within a specified distance": {"method": "within"},
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One call of :func:`phenostream.features.measure`: objects of a pipeline on a set of its images.

    Attributes:
        objects: the pipeline's name of the objects, also the compartment of `settings`.
        channels: the pipeline's names of the images; empty where only shapes are measured.
        settings: families and parameters.
    """

    objects: str
    channels: tuple[str, ...]
    settings: MeasureSettings


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a pipeline measures.

    Attributes:
        measured: the calls, by objects and images in the pipeline's order.
        unmapped: a line for every module, or part of one, that is not among them, and why.
    """

    measured: tuple[Measured, ...]
    unmapped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Module:
    name: str
    number: str
    enabled: bool
    lines: list[tuple[str, str]] = field(default_factory=list)

    def all(self, *starts: str) -> list[str]:
        """Values of the settings whose text begins with one of `starts`; lists are taken apart."""
        found = [value for key, value in self.lines if key.lower().startswith(tuple(s.lower() for s in starts))]
        return [part.strip() for value in found for part in value.split(",") if part.strip()]

    def one(self, start: str, default: str) -> str:
        """The first of them."""
        return next(iter(self.all(start)), default)


def read_pipeline(path: Path) -> Pipeline:
    """The measuring modules of the pipeline at `path`.

    Raises:
        DamagedError: the file is not a CellProfiler pipeline.
        TooLargeError: it has more than 16 MiB.
    """
    if path.stat().st_size > _LARGEST:
        raise TooLargeError(f"{path} has more than {_LARGEST} bytes").at(file=path)
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("CellProfiler Pipeline"):
        raise DamagedError(f"{path} does not begin with 'CellProfiler Pipeline'", remedy="export a .cppipe").at(
            file=path
        )
    return parse_pipeline(text)


def parse_pipeline(text: str) -> Pipeline:
    """The same from the file's text."""
    families: dict[tuple[str, tuple[str, ...]], dict[str, dict[str, Any]]] = defaultdict(dict)
    unmapped: list[str] = []
    for module in _modules(text):
        place = f"{module.name} (module {module.number})"
        if not module.enabled:
            unmapped.append(f"{place}: disabled in the pipeline")
        elif module.name not in _READERS:
            unmapped.append(f"{place}: {_instead(module)}")
        else:
            _add(module, place, families, unmapped)
    return Pipeline(tuple(_calls(families)), tuple(unmapped))


def _modules(text: str) -> Iterator[_Module]:
    module = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            if module:
                yield module
            told = dict(part.split(":", 1) for part in head[2].split("|") if ":" in part)
            module = _Module(head[1], told.get("module_num", "?"), told.get("enabled", "True") == "True")
        elif module and ":" in line:
            key, value = line.strip().split(":", 1)
            module.lines.append((_plain(key), _plain(value)))
    if module:
        yield module


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def _add(
    module: _Module,
    place: str,
    families: dict[tuple[str, tuple[str, ...]], dict[str, dict[str, Any]]],
    unmapped: list[str],
) -> None:
    objects = [name for name in module.all(*_OBJECTS) if name != "None"]
    if not objects:
        unmapped.append(f"{place}: measures whole images, not objects")
    read, remarks = _READERS[module.name](module)
    unmapped += [f"{place}: {remark}" for remark in remarks]
    images = () if module.name in _SHAPES else tuple(module.all(*_IMAGES))
    for name in objects:
        present = families[name, images]
        for family, parameters in read.items():
            merged = _merged(family, present.get(family, parameters), parameters)
            if merged is None:
                unmapped.append(f"{place}: {family} of {name} is measured before with other settings")
            else:
                present[family] = merged


def _merged(family: str, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any] | None:
    """One setting for both; None where there is none. Textures of several scales are one measurement."""
    if family == "texture" and before["grey_levels"] == now["grey_levels"]:
        return {**now, "scales": sorted({*before["scales"], *now["scales"]})}
    return now if before == now else None


def _calls(families: dict[tuple[str, tuple[str, ...]], dict[str, dict[str, Any]]]) -> Iterator[Measured]:
    """Shapes, which need no image, join the first call of their objects."""
    first = {name: images for name, images in reversed(families) if images}
    joined: dict[tuple[str, tuple[str, ...]], dict[str, dict[str, Any]]] = defaultdict(dict)
    for (name, images), found in families.items():
        joined[name, images or first.get(name, ())].update(found)
    for (name, images), found in joined.items():
        parameters = {family: given for family, given in found.items() if given}
        yield Measured(name, images, MeasureSettings(families=tuple(found), compartment=name, parameters=parameters))


_Found = tuple[dict[str, dict[str, Any]], list[str]]


def _size_shape(module: _Module) -> _Found:
    advanced = module.one("Calculate the advanced features", "No") == "Yes"
    found: dict[str, dict[str, Any]] = {"size_shape": {"moments": True} if advanced else {}, "feret": {}}
    if module.one("Calculate the Zernike features", "Yes") == "Yes":
        found["zernike"] = {}
    return found, []


def _intensity(module: _Module) -> _Found:  # noqa: ARG001
    return {"intensity": {"location": True}}, []


def _texture(module: _Module) -> _Found:
    levels = int(module.one("Enter how many gray levels", "256"))
    scales = sorted({int(value) for value in module.all("Texture scale to measure")})
    remarks = ["Gabor features are not measured"] if module.one("Measure Gabor features", "No") == "Yes" else []
    return {"texture": {"scales": scales, "grey_levels": levels}}, remarks


def _granularity(module: _Module) -> _Found:
    found = {
        "subsample": float(module.one("Subsampling factor for granularity", "0.25")),
        "background_subsample": float(module.one("Subsampling factor for background", "0.25")),
        "radius": int(module.one("Radius of structuring element", "10")),
        "length": int(module.one("Range of the granular spectrum", "16")),
    }
    return {"granularity": found}, []


def _radial(module: _Module) -> _Found:
    remarks = []
    if any(centre.lower() not in ("these objects", "self") for centre in module.all("Object to use as center")):
        remarks.append("centres of other objects are not used: each object has its own")
    if len(module.all("Number of bins")) > 1:
        remarks.append("only the first number of bins is measured")
    found: dict[str, dict[str, Any]] = {
        "radial_distribution": {
            "bins": int(module.one("Number of bins", "4")),
            "scaled": module.one("Scale the bins", "Yes") == "Yes",
            "maximum_radius": int(module.one("Maximum radius", "100")),
        }
    }
    kind = module.one("Calculate intensity Zernikes", "None")
    if kind != "None":
        degree = int(module.one("Maximum zernike moment", "9"))
        found["radial_zernike"] = {"degree": degree, "phase": kind == "Magnitudes and phase"}
    return found, remarks


def _neighbors(module: _Module) -> _Found:
    own, others = module.one("Select objects to measure", ""), module.one("Select neighboring objects", "")
    if own != others:
        return {}, [f"neighbours of another kind ({others}) are not measured"]
    method = module.one("Method to determine neighbors", "Adjacent").lower()
    if method not in _NEIGHBORS:
        return {}, [f"unknown method {method!r}"]
    found: dict[str, Any] = dict(_NEIGHBORS[method])
    if found["method"] == "within":
        found["distance"] = int(module.one("Neighbor distance", "5"))
    return {"neighbors": found}, []


def _colocalization(module: _Module) -> _Found:
    threshold = float(module.one("Set threshold as percentage", "15"))
    mode = module.one("Method for Costes", "Faster").lower()
    return {"colocalization": {"threshold": threshold, "costes": mode}}, []


def _skeleton(module: _Module) -> _Found:
    filled = module.one("Fill small holes", "No") == "Yes"
    return {"skeleton": {}}, ["small holes of the skeleton are not filled first"] if filled else []


def _instead(module: _Module) -> str:
    """What a recipe has in place of a module that measures no objects."""
    if module.name == "IdentifySecondaryObjects":
        return _cells(module)
    if module.name == "IdentifyTertiaryObjects":
        rim = str(module.one("Shrink smaller object prior to subtraction", "Yes") == "Yes").lower()
        return f"takes one kind of objects out of another: a recipe says `segment: {{cells: {{rim: {rim}}}}}`"
    return _INSTEAD.get(module.name, "not a measurement of objects that phenostream has")


def _cells(module: _Module) -> str:
    method = module.one("Select the method to identify the secondary objects", "")
    channel, weight = module.one("Select the input image", ""), module.one("Regularization factor", "0.05")
    told = f"method: propagate, channel: {channel}, regularization: {weight}"
    if method == "Distance - N":
        told = f"distance: {module.one('Number of pixels by which to expand', '10')}"
    found = f"finds cells: a recipe says `segment: {{cells: {{{told}}}}}`"
    return found if method in ("Propagation", "Distance - N") else f"{found}, which is not the same as {method}"


_WHOLE = "measures whole images, not objects"
_INPUT = "names the input: `source` in a recipe"
_OUTPUT = "writes files: `output` in a recipe, and `phenostream export`"
_INSTEAD = {
    "Images": _INPUT,
    "Metadata": _INPUT,
    "NamesAndTypes": _INPUT,
    "Groups": _INPUT,
    "LoadData": _INPUT,
    "CorrectIlluminationCalculate": "corrects illumination: `correct` in a recipe",
    "CorrectIlluminationApply": "corrects illumination: `correct` in a recipe",
    "IdentifyPrimaryObjects": "finds objects: `segment` in a recipe, or labels of your own",
    "MeasureImageIntensity": _WHOLE,
    "MeasureImageAreaOccupied": _WHOLE,
    "MeasureImageOverlap": _WHOLE,
    "MeasureImageSkeleton": _WHOLE,
    "MeasureImageQuality": f"{_WHOLE}; a run keeps quality figures of its own for each field",
    "MeasureObjectOverlap": "compares two ways to find the same objects; not measured",
    "SaveImages": _OUTPUT,
    "ExportToSpreadsheet": _OUTPUT,
    "ExportToDatabase": _OUTPUT,
}
_READERS: dict[str, Callable[[_Module], _Found]] = {
    "MeasureObjectSizeShape": _size_shape,
    "MeasureObjectIntensity": _intensity,
    "MeasureTexture": _texture,
    "MeasureGranularity": _granularity,
    "MeasureObjectIntensityDistribution": _radial,
    "MeasureObjectRadialDistribution": _radial,
    "MeasureObjectNeighbors": _neighbors,
    "MeasureColocalization": _colocalization,
    "MeasureCorrelation": _colocalization,
    "MeasureObjectSkeleton": _skeleton,
    "MeasureNeurons": _skeleton,
}
_SHAPES = ("MeasureObjectSizeShape", "MeasureObjectNeighbors")
