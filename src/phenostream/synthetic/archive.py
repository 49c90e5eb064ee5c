"""Whole synthetic archives in the layouts of the real ones, with their tables, and the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phenostream.errors import RecipeError
from phenostream.synthetic import layouts, tables
from phenostream.synthetic.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phenostream.synthetic.plates import Design

Layout = Literal["zarr", "cellh5", "tiff", "png"]
_STUDY = "idr0013"


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that was written.

    Attributes:
        root: folder to serve, or to read as it is: what catalogs call ``base``.
        tables: folder of the tables.
        truth: folder of the truth; see `truth.Truth`.
        layout: ``zarr``, ``cellh5``, ``tiff`` or ``png``.
        channels: names of the channels.
    """

    root: Path
    tables: Path
    truth: Path
    layout: Layout
    channels: tuple[str, ...]

    def source(self, base: str = "") -> dict[str, Any]:
        """The ``source`` of a recipe that streams all of it, from `base` (a server's URL) or from the folder itself."""
        root = base or str(self.root)
        return self._idr(root) if self.layout in ("zarr", "cellh5") else self._folder(root)

    def _idr(self, base: str) -> dict[str, Any]:
        return {
            "catalog": "idr",
            "layout": self.layout,
            "base": base,
            "work_list": str(self.tables / "data_to_process.tsv"),
            "plates_lists": [str(self.tables / "idr0013-screenA-plates.tsv")],
            "filesets": [str(self.tables / "idr0013.csv")],
            "channels": list(self.channels),
            "carry": ["Dose"],
        }

    def _folder(self, base: str) -> dict[str, Any]:
        return {
            "catalog": "folder",
            "base": base,
            "pattern": layouts.PATTERN + (".tif" if self.layout == "tiff" else ".png"),
            "channels": {name: name for name in self.channels},
            "study": _STUDY,
            "time_from": 1,
            "metadata": str(self.tables / "plate_map.csv"),
        }


def write_archive(
    folder: Path | str,
    designs: Sequence[Design],
    *,
    layout: Layout = "zarr",
    version: Literal["0.4", "0.5"] = "0.4",
    levels: int = 4,
) -> Archive:
    """Write plates as an archive keeps them.

    ``zarr``: OME-Zarr plates under UUIDs, as IDR has them; ``cellh5``: one movie a well with its own regions, classes
    and tracks, as MitoCheck has them; ``tiff`` and ``png``: one file a channel, as screening microscopes leave them.

    Args:
        folder: gets the folders ``archive``, ``tables`` and ``truth``; absent or empty.
        designs: plates, all with the same channels.
        layout: see above.
        version: of OME-Zarr: 0.4 (Zarr v2, as IDR has it) or 0.5 (Zarr v3).
        levels: resolutions of the OME-Zarr images.

    Raises:
        RecipeError: the folder is not empty, two plates share a name, channels differ, or a movie has several sites.
    """
    root = _empty(Path(folder))
    _check(designs, layout)
    truth = Truth(root / "truth")
    for design in designs:
        if layout == "zarr":
            layouts.write_zarr(root / "archive", design, truth, version=version, levels=levels)
        elif layout == "cellh5":
            layouts.write_movies(root / "archive", design, truth)
        else:
            layouts.write_files(root / "archive", design, truth, kind=layout)
    truth.close(designs)
    _write_tables(root / "tables", designs)
    return Archive(root / "archive", root / "tables", root / "truth", layout, designs[0].channels)


def _empty(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        raise RecipeError(f"{folder} is not empty", remedy="choose a new folder, or delete this one first")
    for name in ("archive", "tables", "truth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def _check(designs: Sequence[Design], layout: Layout) -> None:
    if not designs or len({design.name for design in designs}) < len(designs):
        raise RecipeError("an archive has plates with a name each", remedy="name the plates differently")
    if len({design.channels for design in designs}) > 1:
        raise RecipeError("the plates of one archive have the same channels")
    if layout == "cellh5" and any(design.sites != 1 for design in designs):
        raise RecipeError("this layout keeps one position a well", remedy="set sites to 1")


def _write_tables(folder: Path, designs: Sequence[Design]) -> None:
    tables.write_work_list(folder / "data_to_process.tsv", designs)
    tables.write_plates_list(folder / "idr0013-screenA-plates.tsv", designs)
    tables.write_annotation(folder / "idr0013-screenA-annotation.csv", designs)
    tables.write_filesets(folder / "idr0013.csv", designs, study=_STUDY, accession=layouts.ACCESSION)
    tables.write_plate_map(folder / "plate_map.csv", designs)
