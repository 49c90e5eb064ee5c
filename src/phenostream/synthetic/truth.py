"""What is true of a synthetic archive, written beside it: every nucleus, every label image, every well."""

from __future__ import annotations

import csv
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenostream.synthetic.plates import wells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phenostream.synthetic.nuclei import Scene
    from phenostream.synthetic.plates import Design, Well


class Truth:
    """Collects what is true of each field, and writes it into one folder.

    * ``wells.csv``: plate, well, number, control, gene, dose, effect, trouble;
    * ``nuclei.parquet``: one row a nucleus: Plate, Well, Site, Frame (from 1) and the columns of `nuclei.Scene.table`;
    * ``labels/{plate}_{well}_s{site}_f{frame}.npz``: ``labels`` (Y, X) uint16;
    * ``illumination.npz``: ``flatfield`` and ``darkfield`` (C, Y, X) float32, the same for all fields.
    """

    def __init__(self, folder: Path) -> None:
        """Write into `folder`, which is made."""
        self._folder = folder
        self._tables: list[pa.Table] = []
        (folder / "labels").mkdir(parents=True, exist_ok=True)

    def add(self, design: Design, well: Well, site: int, frame: int, scene: Scene) -> None:
        """Keep the truth about one frame (from 1) of one field."""
        name = f"{design.name}_{well.name}_s{site}_f{frame}.npz"
        np.savez_compressed(self._folder / "labels" / name, labels=scene.labels.astype(np.uint16))
        place = {"Plate": design.name, "Well": well.name, "Site": site, "Frame": frame}
        table = scene.table()
        for position, (column, value) in enumerate(place.items()):
            table = table.add_column(position, column, pa.array([value] * table.num_rows, _TYPES[column]))
        self._tables.append(table)
        if len(self._tables) == 1:
            np.savez_compressed(self._folder / "illumination.npz", flatfield=scene.flatfield, darkfield=scene.darkfield)

    def close(self, designs: Sequence[Design]) -> None:
        """Write the tables."""
        if self._tables:
            pq.write_table(pa.concat_tables(self._tables), self._folder / "nuclei.parquet")
        rows = [{"plate": design.name, **asdict(well)} for design in designs for well in wells(design)]
        with (self._folder / "wells.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


_TYPES = {"Plate": pa.string(), "Well": pa.string(), "Site": pa.int64(), "Frame": pa.int64()}
