"""One position of a CellH5 file, and the tables that it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from phenostream.errors import DamagedError, NotFoundError
from phenostream.formats._hdf5 import File, ask
from phenostream.formats._places import check_index, numbered_well, well_name
from phenostream.formats.limits import DEFAULT, LABEL_TYPES, PIXEL_TYPES, Limits, check_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from phenostream.values import Store

ROOT = "sample/0/plate"
AXES = "ctzyx"
T = TypeVar("T")
# Older files write the name of a region with this in front, in the definition only.
_PREFIX = "region___"


@dataclass(frozen=True, slots=True)
class Region:
    """One kind of segmented object: name, channel it was found in, place on the first axis of the label images."""

    name: str
    channel: int
    index: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a position holds: sizes along C, T, Z, Y, X, channel names and descriptions, micrometres a pixel."""

    shape: tuple[int, ...]
    channels: tuple[tuple[str, str], ...]
    pixel_size: float | None


@dataclass(frozen=True, slots=True)
class Position:
    """One position (plate, well, site) of the CellH5 file `key` on `store`; every method reads only what it gives.

    Tables of one region have a row an object, in the order of the file: that of `objects`. Frames count from 0.
    """

    store: Store
    key: str
    path: str

    @property
    def plate(self) -> str:
        """Folder of the plate: in the MitoCheck archive the full name of the screen."""
        return self._parts()[3]

    @property
    def well(self) -> str:
        """Well as row letters and number: ``00004`` is the fourth of 384 in row-major order, so ``A4``.

        A folder that is no number, or one that 384 wells do not have, keeps its name.
        """
        folder = self._parts()[5]
        return (numbered_well(int(folder)) if folder.isdecimal() else well_name(folder)) or folder

    @property
    def site(self) -> str:
        """Site without padding."""
        folder = self._parts()[7]
        return str(int(folder)) if folder.isdecimal() else folder

    def summary(self) -> Summary:
        """Sizes, channels and pixel size. Raises NotFoundError where there are no pixels."""
        return self._ask(lambda file: _summary(file, self._at("image/channel")))

    def plane(self, c: int, t: int, z: int, *, limits: Limits = DEFAULT) -> NDArray[Any]:
        """Pixels (Y, X) of one channel, frame and z. Raises as `formats.read`."""
        dtype, pixels = self._ask(lambda file: _plane(file, self._at("image/channel"), (c, t, z)), limits)
        return np.ascontiguousarray(pixels, check_dtype(dtype, f"{self.path} of {self.key}", PIXEL_TYPES))

    def touch(self, c: int, t: int, z: int) -> None:
        """Read the bytes of one plane and decode none of them."""
        self._ask(lambda file: file.stored(*_selected(file, self._at("image/channel"), (c, t, z))) and None)

    def regions(self) -> tuple[Region, ...]:
        """The kinds of objects that were segmented; empty where there are none."""
        return self._ask(self._regions)

    def labels(self, region: str, t: int, z: int = 0, *, limits: Limits = DEFAULT) -> NDArray[np.int32]:
        """Label image (Y, X) of `region` in frame `t`; 0 is background, numbers are those of `objects`."""
        index = self.region(region).index
        dtype, found = self._ask(lambda file: _plane(file, self._at("image/region"), (index, t, z)), limits)
        check_dtype(dtype, f"label image of {self.key}", LABEL_TYPES)
        return found.astype(np.int32)

    def region(self, name: str = "") -> Region:
        """The region called `name`, the first one where empty. Raises NotFoundError with the names there are."""
        known = self.regions()
        for region in known:
            if name in ("", region.name):
                return region
        names = ", ".join(region.name for region in known) or "none"
        raise NotFoundError(f"{self.key} has no region {name!r}; it has: {names}", remedy="name one of them")

    def objects(self, region: str) -> pa.Table:
        """Frame and label of each object: ``time`` (from 0) and ``ObjectNumber``."""
        rows = self._table(f"object/{region}")
        return pa.table({"time": _column(rows, "time_idx"), "ObjectNumber": _column(rows, "obj_label_id")})

    def features(self, region: str) -> pa.Table:
        """Centre (``x``, ``y``), box (``left``, ``right``, ``top``, ``bottom``) in px, and every named feature.

        Parts that the file lacks are absent; a file without any gives a table without columns.
        """
        return self._ask(lambda file: self._features(file, region))

    def classes(self, region: str) -> pa.Table:
        """The classes that were told apart: ``label``, ``name``, ``color``, in the order that predictions count in."""
        rows = self._ask(lambda file: file.table(f"definition/feature/{region}/object_classification/class_labels"))
        return pa.table({name: _column(rows, name) for name in rows.dtype.names or ()})

    def predictions(self, region: str) -> pa.Table:
        """Class of each object: ``class`` (name) and ``class_index`` (row of `classes`), then ``probability_<name>``.

        An object whose index is no row of `classes` was not classified: its class is null.
        """
        known = self.classes(region)["name"].to_pylist()
        path = f"feature/{region}/object_classification"
        index = self._table(f"{path}/prediction")["label_idx"].astype(np.int64)
        names = [known[at] if 0 <= at < len(known) else None for at in index]
        columns = {"class": pa.array(names, pa.string()), "class_index": pa.array(index)}
        if self._ask(lambda file: file.has(self._at(f"{path}/probability"))):
            odds = self._table(f"{path}/probability")
            columns |= {f"probability_{name}": pa.array(odds[:, at]) for at, name in enumerate(known)}
        return pa.table(columns)

    def tracks(self) -> pa.Table:
        """Which object becomes which: ``source`` and ``target``, rows of `objects` of the tracked region.

        An object with two targets divides. Raises NotFoundError where nothing was tracked.
        """
        rows = self._table("object/tracking")
        return pa.table({"source": _column(rows, "obj_idx1"), "target": _column(rows, "obj_idx2")})

    def timestamps(self) -> NDArray[np.float64]:
        """Seconds of each frame since the first, shape (T,). Raises NotFoundError where the file does not tell."""
        return np.asarray(self._table("image/time_lapse")["timestamp_rel"], np.float64)

    def _at(self, path: str) -> str:
        return f"{self.path}/{path}"

    def _parts(self) -> list[str]:
        parts = self.path.strip("/").split("/")
        if len(parts) != 8 or "/".join(parts[:3]) != ROOT:
            raise NotFoundError(
                f"{self.path!r} is not the path of a position", remedy=f"{ROOT}/PLATE/experiment/WELL/position/SITE"
            )
        return parts

    def _ask(self, action: Callable[[File], T], limits: Limits = DEFAULT) -> T:
        return ask(self.store, self.key, action, limits=limits)

    def _table(self, path: str) -> NDArray[Any]:
        return self._ask(lambda file: _rows(file, self._at(path)))

    def _regions(self, file: File) -> tuple[Region, ...]:
        if file.has("definition/image/region"):
            told = _rows(file, "definition/image/region")
            names = [text.removeprefix(_PREFIX) for text in _texts(told["region_name"])]
            return tuple(
                Region(name, int(c), at) for at, (name, c) in enumerate(zip(names, told["channel_idx"], strict=True))
            )
        return tuple(Region(name, 0, at) for at, name in enumerate(file.names(self._at("feature"))))

    def _features(self, file: File, region: str) -> pa.Table:
        path = self._at(f"feature/{region}")
        columns: dict[str, Any] = {}
        for part in ("center", "bounding_box", "orientation"):
            if file.has(f"{path}/{part}"):
                rows = _rows(file, f"{path}/{part}")
                columns |= {name: _column(rows, name) for name in rows.dtype.names or ()}
        if file.has(f"{path}/object_features"):
            matrix = _rows(file, f"{path}/object_features")
            names = _feature_names(file, region, matrix.shape[1])
            columns |= {name: pa.array(np.ascontiguousarray(matrix[:, at])) for at, name in enumerate(names)}
        return pa.table(columns)


def positions(store: Store, key: str) -> list[Position]:
    """All positions of the CellH5 file `key`, plates, wells and sites sorted. Raises NotFoundError, DamagedError."""
    return [Position(store, key, path) for path in ask(store, key, _paths)]


def _paths(file: File) -> list[str]:
    file.group(ROOT)
    plates = [f"{ROOT}/{name}" for name in file.names(ROOT)]
    wells = [f"{plate}/experiment/{name}" for plate in plates for name in file.names(f"{plate}/experiment")]
    return [f"{well}/position/{name}" for well in wells for name in file.names(f"{well}/position")]


def _summary(file: File, path: str) -> Summary:
    shape = _five(file, path).shape
    if not file.has("definition/image/channel"):
        return Summary(shape, (), None)
    told = _rows(file, "definition/image/channel")
    columns = told.dtype.names or ()
    texts = [_texts(told[name]) if name in columns else [""] * len(told) for name in ("channel_name", "description")]
    return Summary(shape, tuple(zip(*texts, strict=True)), _pixel_size(told))


def _pixel_size(told: NDArray[Any]) -> float | None:
    """Micrometres; None where it was left at 1, not told, or not the same in two directions."""
    if not len(told) or not {"voxel_size", "is_physical"} <= set(told.dtype.names or ()) or not told["is_physical"][0]:
        return None
    sizes = [float(size) for size in told["voxel_size"][0]]
    return sizes[0] if sizes[0] == sizes[1] and 0 < sizes[0] != 1 else None


def _five(file: File, path: str) -> Any:
    dataset = file.dataset(path)
    if len(dataset.shape) != 5:
        raise DamagedError(f"{path} of {file.key} has shape {dataset.shape}; CellH5 images are (C, T, Z, Y, X)")
    return dataset


def _selected(file: File, path: str, lead: tuple[int, int, int]) -> tuple[Any, tuple[int, int, int]]:
    dataset = _five(file, path)
    for axis, value, length in zip(AXES, lead, dataset.shape, strict=False):
        check_index(value, length, axis, f"{path} of {file.key}")
    return dataset, lead


def _plane(file: File, path: str, lead: tuple[int, int, int]) -> tuple[np.dtype[Any], NDArray[Any]]:
    dataset, lead = _selected(file, path, lead)
    return dataset.dtype, file.array(dataset, lead)


def _rows(file: File, path: str) -> NDArray[Any]:
    dataset = file.dataset(path)
    if 0 in dataset.shape:
        return np.empty(dataset.shape, dataset.dtype)
    return file.table(path)


def _feature_names(file: File, region: str, count: int) -> list[str]:
    path = f"definition/feature/{region}/object_features"
    names = _texts(_rows(file, path)["name"]) if file.has(path) else [f"feature_{at}" for at in range(count)]
    if len(names) != count:
        raise DamagedError(f"{file.key} names {len(names)} features of {region} but holds {count}")
    return names


def _texts(values: NDArray[Any]) -> list[str]:
    """Fixed-width text, without its padding."""
    return [bytes(value).rstrip(b"\0").decode("utf-8", "replace").strip() for value in values]


def _column(rows: NDArray[Any], name: str) -> pa.Array[Any]:
    if name not in (rows.dtype.names or ()):
        raise DamagedError(f"a table has no column {name!r} but {rows.dtype.names}")
    values = rows[name]
    return pa.array(_texts(values), pa.string()) if values.dtype.kind == "S" else pa.array(np.ascontiguousarray(values))
