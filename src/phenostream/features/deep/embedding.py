"""Embeddings: what a model package sees in the crop of each object, rows in label order."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from phenostream import inference
from phenostream.errors import ChannelMissingError, RecipeError, WrongShapeError
from phenostream.features.deep.crops import Cutter
from phenostream.features.deep.settings import DEFAULT_MODEL, CropSettings, DeepSettings
from phenostream.features.scene import Scene
from phenostream.values import Column, recipes, with_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.inference.sessions import Device

#: Changes when the same package would give other numbers for the same objects.
VERSION = 1
#: Key of the schema's metadata under which a table says which package made its embeddings.
KEY = "phenostream.embedding"
# Objects that are cut and embedded together: always the same ones, so that no setting of a run changes a bit.
_TOGETHER = 32
#: Megabytes that the model may use for them, beside its weights.
MEMORY_MB = 384


class Embedder:
    """A loaded package with its crops. Keep one for many fields."""

    def __init__(self, settings: DeepSettings, *, threads: int | None = None) -> None:
        """Load the package.

        Raises:
            NotFoundError: no such package. Others as :func:`phenostream.inference.load`.
            RecipeError: the package gives no embeddings, or the settings of the crops are wrong.
        """
        self.settings = settings
        self.package = inference.find(settings.model)
        self.size = _size(self.package)
        self.crops = _crops(self.package, settings.crops)
        self._model = inference.load(self.package, device=settings.device, threads=threads)

    @property
    def identity(self) -> dict[str, Any]:
        """What a result's identity must include: package, crops and the version of this code."""
        return identity(self.package, self.crops)

    @property
    def memory(self) -> int:
        """Bytes that the loaded model and its work on some objects take at most."""
        weights = (self.package.folder / self.package.description.weights.onnx.source).stat().st_size
        return int(MEMORY_MB * 1e6) + 3 * weights

    @property
    def width(self) -> int:
        """Numbers an object (of one channel, where the model looks at one)."""
        return len(self.package.description.outputs[0].channels)

    def embed(
        self, image: NDArray[Any], labels: NDArray[Any], channels: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """(N, D) as :func:`embed`; `channels` names those of `image`."""
        return self._of(self._scene(image, labels, channels))

    def table(
        self,
        image: NDArray[Any],
        labels: NDArray[Any],
        channels: Sequence[str] | None = None,
        *,
        compartment: str = "Nuclei",
    ) -> pa.Table:
        """``ObjectNumber`` and one float32 column a number, with roles, as :func:`embed_table`."""
        scene = self._scene(image, labels, channels)
        values = self._of(scene)
        columns = [Column("ObjectNumber", role="metadata", unit="1"), *self.columns(scene.channels, compartment)]
        arrays = [pa.array(scene.numbers), *(pa.array(np.ascontiguousarray(one)) for one in values.T)]
        table = pa.table(arrays, names=[column.name for column in columns])
        return with_columns(table.replace_schema_metadata({KEY: json.dumps(self.identity, sort_keys=True)}), columns)

    def columns(self, channels: Sequence[str], compartment: str) -> list[Column]:
        """One a number: ``efficientnet_0`` ... for one channel, ``efficientnet_DNA_0`` ... for several."""
        prefix = str(self.package.settings.get("column", self.package.name))
        if len(self.package.channels) > 1:
            groups = [("_".join(channels), prefix)]
        else:
            groups = [(name, f"{prefix}_{name}" if len(channels) > 1 else prefix) for name in channels]
        return [
            Column(f"{stem}_{i}", "feature", compartment, "embedding", channel, "1")
            for channel, stem in groups
            for i in range(self.width)
        ]

    def _of(self, scene: Scene) -> NDArray[np.float32]:
        cut = Cutter(scene, self.crops, self.size, reference=float(self.package.settings.get("diameter_px", 1)))
        together = len(self.package.channels) > 1
        out = np.empty((len(scene), self.width * (1 if together else len(scene.channels))), np.float32)
        for first in range(0, len(scene), _TOGETHER):
            crops = cut(first, min(first + _TOGETHER, len(scene)))
            fed = crops if together else crops.reshape(-1, 1, self.size, self.size)
            out[first : first + len(crops)] = self.seen(fed).reshape(len(crops), -1)
        return out

    def _scene(self, image: NDArray[Any], labels: NDArray[Any], channels: Sequence[str] | None) -> Scene:
        """What is looked at, checked: the wanted channels alone."""
        scene = Scene(image, labels, channels)
        wanted = self.settings.channels or scene.channels
        chosen = [scene.image(name) for name in wanted]
        needed = len(self.package.channels)
        if needed not in (1, len(wanted)):
            names = ", ".join(self.package.channels)
            raise ChannelMissingError(
                f"{self.package.name} looks at {needed} channels ({names}), not at {len(wanted)}",
                remedy="choose as many with `channels`, in its order",
            )
        return Scene(np.stack(chosen), labels, wanted) if tuple(wanted) != scene.channels else scene

    def seen(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) of crops (N, C, S, S) that are cut and scaled already."""
        found = self._model.batch(crops, batch_size=_TOGETHER, memory_mb=MEMORY_MB)
        return found.reshape(len(crops), self.width)


def embed(
    image: NDArray[Any],
    labels: NDArray[Any],
    *,
    channels: Sequence[str] | None = None,
    model: str = DEFAULT_MODEL,
    crops: CropSettings | Mapping[str, Any] | None = None,
    device: Device = "auto",
    threads: int | None = None,
) -> NDArray[np.float32]:
    """What a model sees in each object's crop.

    Args:
        image: pixels (Y, X) or (C, Y, X); unsigned integers or floats.
        labels: (Y, X) integers, 0 is background; numbers need not be consecutive.
        channels: one name a channel of `image`; needed only where a model wants some of them.
        model: a package's name or folder: our own ``cellnet``, or an imported one. A model of one channel looks at
            every channel on its own.
        crops: how the crops differ from those the package was made for; see :class:`CropSettings`.
        device: ``auto`` takes CUDA where ONNX Runtime has it.
        threads: of the model; as many as cores by default.

    Returns:
        (N, D) float32, rows by ascending label; for C channels under a model of one, D is C times its width, channel by
        channel. Finite for any finite pixels, flat crops and objects at the border included.

    Raises:
        NotFoundError: no such model.
        WrongShapeError, WrongDtypeError, NotFiniteError, ChannelMissingError: as :func:`phenostream.features.measure`.
        RecipeError: a wrong setting of `crops`.
    """
    return _kept(DeepSettings(model=model, crops=_told(crops), device=device), threads).embed(image, labels, channels)


def embed_crops(
    crops: NDArray[Any], *, model: str = DEFAULT_MODEL, device: Device = "auto", threads: int | None = None
) -> NDArray[np.float32]:
    """What a model sees in crops that were cut already.

    Args:
        crops: (N, S, S) or (N, C, S, S), S as the package wants it, on any scale: each crop is scaled
            between its own least and largest value.
        model: as of :func:`embed`.
        device: as of :func:`embed`.
        threads: as of :func:`embed`.

    Returns:
        (N, D) float32.
    """
    embedder = _kept(DeepSettings(model=model, device=device), threads)
    stack = np.asarray(crops)
    stack = (stack[:, None] if stack.ndim == 3 else stack).astype(np.float32)
    if stack.ndim != 4 or stack.shape[2:] != (embedder.size, embedder.size):
        raise WrongShapeError(f"crops have shape {np.shape(crops)}, the model wants {embedder.size} pixels a side")
    low, high = (pick(stack, axis=(2, 3), keepdims=True) for pick in (np.min, np.max))
    scaled = (stack - low) / np.where(high > low, high - low, 1)
    each = len(embedder.package.channels)
    return embedder.seen(scaled.reshape(-1, each, *scaled.shape[2:])).reshape(len(stack), -1)


def embed_table(
    image: NDArray[Any],
    labels: NDArray[Any],
    channels: Sequence[str] | None = None,
    *,
    settings: DeepSettings | None = None,
    compartment: str = "Nuclei",
    threads: int | None = None,
) -> pa.Table:
    """As :func:`embed`, as an Arrow table.

    Returns:
        ``ObjectNumber`` (the label) and float32 columns ``<model>_0`` ... (``<model>_<channel>_0`` ... for several
        channels), whose field metadata says role ``feature``, family ``embedding`` and the channel. The schema's
        metadata names the package and its hash.
    """
    return _kept(settings or DeepSettings(), threads).table(image, labels, channels, compartment=compartment)


def beside(table: pa.Table, embedded: pa.Table) -> pa.Table:
    """Measurements and embeddings of the same objects as one table, matched by ``ObjectNumber`` and by nothing else.

    Raises:
        WrongShapeError: the tables are not about the same objects in the same order.
    """
    if not table.column("ObjectNumber").equals(embedded.column("ObjectNumber")):
        raise WrongShapeError(
            f"{table.num_rows} measured and {embedded.num_rows} embedded objects are not the same",
            remedy="measure and embed the same labels",
        )
    seen = [one for one in embedded.schema if one.name != "ObjectNumber"]
    told: dict[bytes | str, bytes | str] = {}
    for one in (table, embedded):
        told.update((key, value) for key, value in (one.schema.metadata or {}).items())
    schema = pa.schema([*table.schema, *seen], told)
    return pa.table([*table.columns, *(embedded.column(one.name) for one in seen)], schema=schema)


def identity(package: inference.Package, crops: CropSettings) -> dict[str, Any]:
    """Package, crops and code that decide an embedding."""
    return {"model": package.name, "sha256": package.sha256, "crops": crops.model_dump(mode="json"), "version": VERSION}


def resolved(settings: DeepSettings) -> dict[str, Any]:
    """The identity of what `settings` ask for; verifies the package, loads nothing."""
    package = inference.find(settings.model)
    _size(package)
    return identity(package, _crops(package, settings.crops))


def _told(crops: CropSettings | Mapping[str, Any] | None) -> dict[str, Any]:
    return crops.model_dump(exclude_unset=True) if isinstance(crops, CropSettings) else dict(crops or {})


def _kept(settings: DeepSettings, threads: int | None) -> Embedder:
    """An embedder, made anew only where settings or package have changed."""
    description = inference.names().get(settings.model, Path(settings.model)) / "rdf.yaml"
    stamp = description.stat().st_mtime_ns if description.is_file() else 0
    return _keep(settings.model_dump_json(), stamp, threads)


@lru_cache(maxsize=4)
def _keep(settings: str, stamp: int, threads: int | None) -> Embedder:
    del stamp
    return Embedder(DeepSettings.model_validate_json(settings), threads=threads)


def _size(package: inference.Package) -> int:
    space = package.description.input.space
    sizes = {axis.size for axis in space}
    if len(space) != 2 or len(sizes) != 1 or package.description.outputs[0].space:
        raise RecipeError(f"{package.name} gives no embeddings of square crops", remedy="choose another model")
    (size,) = sizes
    if not isinstance(size, int):
        raise RecipeError(f"{package.name} does not say how large its crops are")
    return size


def _crops(package: inference.Package, given: Mapping[str, Any]) -> CropSettings:
    try:
        return CropSettings.model_validate({**package.settings.get("crops", {}), **given})
    except ValidationError as error:
        raise RecipeError(f"crops.{recipes.faults(error, most=1)}") from error
