"""A classifier as a folder: ``classifier.json`` says what it is, ``weights.safetensors`` holds its numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phenostream.errors import ChangedError, DamagedError, LedgerError, NotFoundError, TooLargeError
from phenostream.profiles.phenotypes.classifier import Classifier
from phenostream.profiles.phenotypes.registry import model_settings
from phenostream.profiles.writing import replacing_folder

VERSION = 1
TOLD, WEIGHTS = "classifier.json", "weights.safetensors"
_MAX_TOLD, _MAX_WEIGHTS = 64 << 20, 2 << 30

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["phenostream.classifier"]
    version: int
    model: str
    settings: dict[str, Any]
    classes: Names
    features: Names
    temperature: float = Field(gt=0)
    weights_sha256: str
    provenance: dict[str, Any]


def save(classifier: Classifier, folder: str | Path) -> Path:
    """Write a classifier; the folder appears whole or not at all, and replaces an earlier classifier there.

    Raises:
        RecipeError: the folder holds other files. DiskFullError, ForbiddenError: it cannot be written.
    """
    from safetensors.numpy import save as pack  # noqa: PLC0415  (heavy)

    target = Path(folder)
    weights = pack({name: np.ascontiguousarray(values) for name, values in sorted(classifier.arrays.items())})
    told = _Told(
        format="phenostream.classifier",
        version=VERSION,
        model=classifier.model,
        settings=classifier.settings.model_dump(mode="json"),
        classes=classifier.classes,
        features=classifier.features,
        temperature=classifier.temperature,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        provenance=classifier.provenance,
    )
    text = json.dumps(told.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False)
    with replacing_folder(target, ours=lambda name: name in (TOLD, WEIGHTS)) as temporary:
        (temporary / TOLD).write_text(text, encoding="utf-8")
        (temporary / WEIGHTS).write_bytes(weights)
    return target


def load(folder: str | Path) -> Classifier:
    """What :func:`save` wrote: the same probabilities.

    Raises:
        NotFoundError: no such folder or file.
        ChangedError: the weights are not those that were saved.
        DamagedError: a file is not what it should be.
        LedgerError: written by a newer version.
    """
    from safetensors import SafetensorError  # noqa: PLC0415  (heavy)
    from safetensors.numpy import load as unpack  # noqa: PLC0415

    place = Path(folder)
    told = _told(_bytes(place / TOLD, _MAX_TOLD), place)
    weights = _bytes(place / WEIGHTS, _MAX_WEIGHTS)
    if hashlib.sha256(weights).hexdigest() != told.weights_sha256:
        raise ChangedError(
            f"{place / WEIGHTS} is not what was saved: its sha256 differs", remedy="copy the folder anew"
        )
    try:
        arrays = unpack(weights)
    except (SafetensorError, ValueError) as error:
        raise DamagedError(f"{place / WEIGHTS} does not load: {error}") from error
    settings = model_settings(told.model, told.settings)
    found = Classifier(told.model, settings, told.classes, told.features, arrays, told.temperature, told.provenance)
    _check(found, place)
    return found


def _check(found: Classifier, place: Path) -> None:
    try:
        chances = found.probabilities(np.zeros((1, len(found.features))))
    except (KeyError, ValueError, IndexError) as error:
        raise DamagedError(f"{place}: weights and features do not fit: {error}", remedy="train anew") from error
    if chances.shape != (1, len(found.classes)) or not np.isfinite(chances).all():
        raise DamagedError(f"{place}: weights do not give {len(found.classes)} probabilities", remedy="train anew")


def _told(data: bytes, place: Path) -> _Told:
    try:
        told = json.loads(data)
        newer = isinstance(told, dict) and isinstance(told.get("version"), int) and told["version"] > VERSION
        if newer:
            raise LedgerError(f"{place} was written by a newer phenostream", remedy="install it")
        return _Told.model_validate(told)
    except (ValueError, ValidationError) as error:
        raise DamagedError(f"{place / TOLD} is no classifier: {str(error).splitlines()[0]}") from error


def _bytes(path: Path, most: int) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"no {path.name} in {path.parent}", remedy="give the folder of a saved classifier")
    if path.stat().st_size > most:
        raise TooLargeError(f"{path} has {path.stat().st_size} bytes", remedy="is this a classifier?")
    return path.read_bytes()
