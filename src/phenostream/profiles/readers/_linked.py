"""Objects of one image joined to one row a cell, as their parent columns say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from phenostream.errors import DamagedError, NotFoundError
from phenostream.profiles.roles import column_of
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

IMAGE, OBJECT = "ImageNumber", "ObjectNumber"
_IMAGE_TABLE = re.compile(r"(?:.*_)?image", re.IGNORECASE)
_NUMBER = re.compile(r"ObjectNumber|Parent_\w+|Number_Object_Number")


class Tables(Protocol):
    """One data set: an image table, and a table an object, each ascending by image number."""

    @property
    def objects(self) -> Sequence[str]:
        """The objects that have a table."""
        ...

    def columns(self, name: str) -> list[str]:
        """Names of the columns of a table, `name` being an object or ``Image``."""
        ...

    def rows(self, name: str) -> Iterator[pa.Table]:
        """Its rows, some at a time, by image number."""
        ...


@dataclass(slots=True)
class Linked:
    """The cells of one or more data sets: one row for each object of the table that names the others as parents.

    Attributes:
        sets: the data sets.
        image: which image columns are kept: ``metadata`` or ``all``.
        told: after a whole reading: ``images``, ``rows``, and ``alone`` by object: rows that no cell refers to.
    """

    sets: Sequence[Tables]
    image: str = "metadata"
    told: dict[str, Any] = field(default_factory=dict)

    def schema(self) -> pa.Schema:
        """Columns and roles."""
        first = self.sets[0]
        fields = [pa.field("Metadata_ImageNumber", pa.int64()), pa.field(OBJECT, pa.int64())]
        fields += [pa.field(name, _type(name)) for name in image_names(first.columns("Image"), self.image).values()]
        for compartment in first.objects:
            for name in first.columns(compartment):
                if name not in (IMAGE, OBJECT, "TableNumber"):
                    full = prefixed(compartment, name)
                    fields.append(pa.field(full, _type(full, first.objects)))
            fields.append(pa.field(f"Metadata_{compartment}_ObjectNumber", pa.int64()))
        made = pa.schema(fields)
        return with_columns(made.empty_table(), [_column(one.name, first.objects) for one in made]).schema

    def count(self) -> int:
        """Rows; reads everything."""
        return sum(table.num_rows for table in self.tables())

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One image at a time.

        Raises:
            DamagedError: an object stands twice, images are not in ascending order, or parents are not named.
        """
        schema, empty = self.schema(), True
        self.told.clear()
        self.told.update({"images": 0, "rows": 0, "alone": dict.fromkeys(self.sets[0].objects, 0)})
        wanted = list(schema.names) if names is None else list(names)
        for one in self.sets:
            if sorted(one.objects) != sorted(self.sets[0].objects):
                raise DamagedError(
                    f"one data set has {', '.join(one.objects)}, the first {', '.join(self.sets[0].objects)}",
                    remedy="name the `compartments` that all of them have",
                )
            for table in self._set(one, schema):
                empty = False
                yield table.select(wanted)
        if empty:
            yield schema.empty_table().select(wanted)

    def _set(self, one: Tables, schema: pa.Schema) -> Iterator[pa.Table]:
        root, links = parents(one)
        images = {int(key): table for key, table in by_image(one, "Image")}
        streams = {name: _Ahead(by_image(one, name)) for name in one.objects}
        for key in sorted(images):
            found = {name: stream.at(key) for name, stream in streams.items()}
            self.told["images"] += 1
            if any(table is not None for table in found.values()):
                yield self._image(
                    key, images[key], {k: v for k, v in found.items() if v is not None}, (root, links), schema
                )
        for name, stream in streams.items():
            if stream.left():
                raise DamagedError(f"{name} has rows of image {stream.left()}, which the image table does not have")

    def _image(
        self,
        key: int,
        image: pa.Table,
        found: Mapping[str, pa.Table],
        tree: tuple[str, dict[str, str]],
        schema: pa.Schema,
    ) -> pa.Table:
        root, links = tree
        numbers = {name: _numbers(table, name, key) for name, table in found.items()}
        rows = len(numbers.get(root, ()))
        self.told["rows"] += rows
        columns: dict[str, Any] = {"Metadata_ImageNumber": pa.repeat(pa.scalar(key, pa.int64()), rows)}
        columns[OBJECT] = pa.array(numbers.get(root, np.zeros(0)), pa.int64())
        for name, full in image_names(image.column_names, self.image).items():
            columns[full] = pa.repeat(image.column(name)[0], rows)
        for name, table in found.items():
            place = np.arange(rows) if name == root else _places(found.get(root), links[name], numbers[name])
            self.told["alone"][name] += len(numbers[name]) - len(np.unique(place[place >= 0]))
            taken = pa.array(place, pa.int64(), mask=place < 0)
            for column in table.column_names:
                if column not in (IMAGE, OBJECT, "TableNumber"):
                    columns[prefixed(name, column)] = table.column(column).take(taken)
            columns[f"Metadata_{name}_ObjectNumber"] = pa.array(numbers[name], pa.int64()).take(taken)
        return _filled(columns, rows, schema)


def parents(one: Tables) -> tuple[str, dict[str, str]]:
    """The object that names the others as its parents, and for each of these the column that does.

    Raises DamagedError where no object does.
    """
    if len(one.objects) == 1:
        return one.objects[0], {}
    for name in one.objects:
        others = [other for other in one.objects if other != name]
        have = set(one.columns(name))
        links = {}
        for other in others:
            found = [column for column in (f"Parent_{other}", f"{name}_Parent_{other}") if column in have]
            if found:
                links[other] = found[0]
        if len(links) == len(others):
            return name, links
    raise DamagedError(
        f"none of {', '.join(one.objects)} names all the others as parents",
        remedy="read fewer `compartments`, or export the parents (RelateObjects) in CellProfiler",
    )


def is_image_table(name: str) -> bool:
    """Whether a name is that of the image table: ``Image``, ``image``, ``MyExpt_Image``, ``MyExpt_Per_Image``."""
    return bool(_IMAGE_TABLE.fullmatch(name))


def image_names(names: Sequence[str], which: str) -> dict[str, str]:
    """Columns of the image table to keep: own name to name in the joined table."""
    kept = {}
    for name in names:
        plain = name.removeprefix("Image_")
        if plain.startswith("Metadata_"):
            kept[name] = plain
        elif which == "all" and plain not in (IMAGE, "TableNumber"):
            kept[name] = f"Image_{plain}"
    return kept


def prefixed(compartment: str, name: str) -> str:
    """A column's name with its object in front, once."""
    return name if name.startswith(f"{compartment}_") else f"{compartment}_{name}"


def source_type(compartment: str, name: str, objects: Sequence[str]) -> Any:
    """Arrow type of a column in its own file; numbers of objects are read as float64, since 1 may be written 1.0."""
    plain = name.removeprefix("Image_")
    if plain in (IMAGE, OBJECT):
        return pa.float64()
    if plain == "TableNumber":
        return pa.string()
    kind = _type(f"Image_{plain}") if compartment == "Image" else _type(prefixed(compartment, name), objects)
    return pa.float64() if pa.types.is_integer(kind) else kind


def by_image(one: Tables, name: str) -> Iterator[tuple[int, pa.Table]]:
    """The rows of a table image by image, numbers of images and objects as int64.

    Raises DamagedError where the images do not ascend, or a number is not whole.
    """
    waiting: list[pa.Table] = []
    last: int | None = None
    for read in one.rows(name):
        if read.num_rows == 0:
            continue
        table = _counted(read, name, one.objects)
        if table.column(IMAGE).null_count:
            raise DamagedError(f"{name} has a row without {IMAGE}")
        keys = table.column(IMAGE).to_numpy()
        starts = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1, [len(keys)]])
        for start, stop in pairwise(starts):
            key = int(keys[start])
            if last is not None and key < last:
                raise DamagedError(f"{name} goes back from image {last} to {key}", remedy=f"sort it by {IMAGE}")
            if last is not None and key != last:
                yield last, pa.concat_tables(waiting)
                waiting = []
            last = key
            waiting.append(table.slice(start, stop - start))
    if last is not None:
        yield last, pa.concat_tables(waiting)


def _counted(table: pa.Table, name: str, objects: Sequence[str]) -> pa.Table:
    """`table` with the numbers of images and objects as int64."""
    for place, column in enumerate(table.column_names):
        if column in (IMAGE, OBJECT) or (name != "Image" and _is_number(prefixed(name, column), objects)):
            try:
                numbers = table.column(place).cast(pa.int64())
            except pa.ArrowInvalid as error:
                raise DamagedError(
                    f"{name}: column {column!r}: {error}", remedy="write whole numbers there, as CellProfiler does"
                ) from error
            table = table.set_column(place, column, numbers)
    return table


class _Ahead:
    """A stream by image, looked at one image ahead."""

    def __init__(self, stream: Iterator[tuple[int, pa.Table]]) -> None:
        self._stream = stream
        self._next = next(stream, None)

    def at(self, key: int) -> pa.Table | None:
        if self._next is None or self._next[0] != key:
            return None
        table = self._next[1]
        self._next = next(self._stream, None)
        return table

    def left(self) -> int | None:
        return None if self._next is None else self._next[0]


def _numbers(table: pa.Table, name: str, key: int) -> NDArray[np.int64]:
    if OBJECT not in table.column_names:
        raise NotFoundError(f"{name} has no column {OBJECT}")
    if table.column(OBJECT).null_count:
        raise DamagedError(f"{name} has a row without {OBJECT} in image {key}")
    numbers = table.column(OBJECT).to_numpy()
    if len(np.unique(numbers)) < len(numbers):
        raise DamagedError(f"{name} has an object twice in image {key}", remedy="was the table written twice?")
    return numbers.astype(np.int64)


def _places(root: pa.Table | None, link: str, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """(rows of the root,) where each one's parent stands, -1 for none."""
    if root is None:
        return np.zeros(0, np.int64)
    parent = np.nan_to_num(np.asarray(root.column(link).to_numpy(), float), nan=0).astype(np.int64)
    order = np.argsort(numbers)
    place = np.searchsorted(numbers[order], parent)
    place[place == len(numbers)] = 0
    found = order[place]
    return np.where(numbers[found] == parent, found, -1)


def _filled(columns: dict[str, Any], rows: int, schema: pa.Schema) -> pa.Table:
    arrays = [columns[one.name].cast(one.type) if one.name in columns else pa.nulls(rows, one.type) for one in schema]
    return pa.table(arrays, schema=schema)


def _type(name: str, objects: Sequence[str] = ()) -> Any:
    if column_of(name, compartments=tuple(objects)).role != "metadata":
        return pa.float64()
    return pa.int64() if _is_number(name, objects) else pa.string()


def _is_number(name: str, objects: Sequence[str]) -> bool:
    """Whether a column, its object in front, numbers objects: its own or its parents."""
    compartment = column_of(name, compartments=tuple(objects)).compartment
    return bool(_NUMBER.fullmatch(name.removeprefix(f"{compartment}_")))


def _column(name: str, objects: Sequence[str]) -> Column:
    return column_of(name, compartments=tuple(objects))
