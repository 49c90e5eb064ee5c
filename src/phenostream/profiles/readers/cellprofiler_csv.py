"""CellProfiler's spreadsheets: one CSV an object and one of the images, in a folder or in folders below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from phenostream.errors import NotFoundError
from phenostream.profiles.operating import Names, OperationSettings
from phenostream.profiles.readers._csv import blocks, header
from phenostream.profiles.readers._linked import IMAGE, OBJECT, Linked, is_image_table, source_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from phenostream.profiles.tables import Source


class Settings(OperationSettings):
    """Which objects and image columns are read."""

    compartments: Names = Field((), description="objects to join; none: every object that has a table")
    image: Literal["metadata", "all"] = Field("metadata", description="image columns: the metadata, or all (role qc)")


def recognises(path: Path) -> bool:
    """Whether a folder, or one below it, holds an image table and an object table."""
    return path.is_dir() and bool(_sets(path, ()))


def read(path: Path, settings: Settings) -> Source:
    """One row a cell; see :class:`phenostream.profiles.readers._linked.Linked`.

    The object whose table names the others as parents (Cytoplasm, as a rule) gives the rows. Memory holds some
    megabytes of each table.

    Raises:
        NotFoundError: no image table with object tables beside it.
    """
    sets = _sets(path, settings.compartments)
    if not sets:
        raise NotFoundError(
            f"no CellProfiler tables in {path}", remedy="the folder must hold Image.csv and one CSV an object"
        )
    return Linked(sets, settings.image)


@dataclass(frozen=True, slots=True)
class _Folder:
    """The tables of one folder, by object; ``Image`` is the image table."""

    files: dict[str, Path]
    objects: tuple[str, ...]

    def columns(self, name: str) -> list[str]:
        return header(self.files[name])

    def rows(self, name: str) -> Iterator[pa.Table]:
        return blocks(self.files[name], lambda column: source_type(name, column, self.objects))


def _sets(path: Path, compartments: Names) -> list[_Folder]:
    folders = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    found = [_folder(folder, compartments) for folder in folders]
    return [one for one in found if one is not None]


def _folder(folder: Path, compartments: Names) -> _Folder | None:
    files = {file.name.removesuffix(".gz").removesuffix(".csv"): file
             for file in sorted(folder.iterdir()) if file.name.lower().endswith((".csv", ".csv.gz"))}  # fmt: skip
    image = next((name for name in files if is_image_table(name)), None)
    if image is None:
        return None
    start = image[: -len("image")]
    objects = {}
    for name, file in files.items():
        if name != image and name.startswith(start) and {IMAGE, OBJECT} <= set(header(file)):
            objects[name.removeprefix(start)] = file
    if compartments:
        if missing := [name for name in compartments if name not in objects]:
            raise NotFoundError(f"no table of {missing[0]} in {folder}", remedy=f"there are {', '.join(objects)}")
        objects = {name: objects[name] for name in compartments}
    return _Folder({"Image": files[image], **objects}, tuple(objects)) if objects else None
