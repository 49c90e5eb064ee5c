"""One plate in one of the layouts that real archives have; `truth` is told of every frame on the way."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from phenostream.formats import cellh5, ome_zarr, png, tiff
from phenostream.synthetic import tables
from phenostream.synthetic.cells import KINDS
from phenostream.synthetic.plates import Design, Well, scenes, wells

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.synthetic.nuclei import Scene
    from phenostream.synthetic.truth import Truth

ACCESSION = "S-BIAD865"
PATTERN = "{plate}/{plate}_{well}_s{site}_t{time}_{channel}"
REGION = "primary__test"
_CHUNKS = (1024, 1024)
_SECONDS = 1800.0


def write_zarr(root: Path, design: Design, truth: Truth, *, version: Literal["0.4", "0.5"], levels: int) -> None:
    """An OME-Zarr plate ``{accession}/{uuid}/{uuid}.zarr`` as bioformats2raw makes them: chunks of 1024 x 1024."""
    name = tables.identifier(design.name, design.seed)
    plate = root / ACCESSION / name / f"{name}.zarr"
    layout = ome_zarr.Layout(version=version, chunks=_CHUNKS, levels=levels, channels=design.channels)
    ome_zarr.write_plate(plate, _images(design, truth), name=design.name, layout=layout)
    for well in _damaged(design):
        truncate(_largest(plate / well.name[0] / well.name[1:] / "0" / "0"))


def write_movies(root: Path, design: Design, truth: Truth) -> None:
    """CellH5 movies ``{screen}/hdf5/00004_01.ch5``, a well each, with the true labels, kinds and tracks inside."""
    folder = root / tables.screen(design.name) / "hdf5"
    folder.mkdir(parents=True)
    for well in _present(design):
        path = folder / f"{well.number:05d}_01.ch5"
        frames = [scene for _, scene in _movie(design, well, 1, truth)]
        cellh5.write(path, _position(design, well, frames), channels=design.channels)
        if well.trouble == "damaged":
            truncate(path)


def write_files(root: Path, design: Design, truth: Truth, *, kind: Literal["tiff", "png"]) -> None:
    """One file a channel and frame, named by ``PATTERN``."""
    (root / design.name).mkdir(parents=True)
    suffix, write = (".tif", tiff.write) if kind == "tiff" else (".png", png.write)
    for well in _present(design):
        for site in range(1, design.sites + 1):
            for frame, scene in _movie(design, well, site, truth):
                for channel, image in zip(design.channels, scene.image, strict=True):
                    place = {"plate": design.name, "well": well.name, "site": site, "time": frame, "channel": channel}
                    path = root / (PATTERN.format(**place) + suffix)
                    write(path, image)
                if well.trouble == "damaged":
                    truncate(path)


def truncate(path: Path, share: float = 0.6) -> None:
    """Cut the file off after this share of its bytes, as a broken transfer would."""
    os.truncate(path, int(path.stat().st_size * share))


def _present(design: Design) -> Iterator[Well]:
    return (well for well in wells(design) if well.trouble != "missing")


def _damaged(design: Design) -> Iterator[Well]:
    return (well for well in wells(design) if well.trouble == "damaged")


def _movie(design: Design, well: Well, site: int, truth: Truth) -> Iterator[tuple[int, Scene]]:
    """The frames of one field, numbered from 1."""
    for frame, scene in enumerate(scenes(design, well, site), start=1):
        truth.add(design, well, site, frame, scene)
        yield frame, scene


def _images(design: Design, truth: Truth) -> Iterator[ome_zarr.WellImage]:
    for well in _present(design):
        for site in range(1, design.sites + 1):
            frames = [scene.image for _, scene in _movie(design, well, site, truth)]
            yield ome_zarr.WellImage(well.name, np.stack(frames)[:, :, None])


def _largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: (path.stat().st_size, path))


def _position(design: Design, well: Well, frames: Sequence[Scene]) -> cellh5.Movie:
    return cellh5.Movie(
        np.stack([scene.image for scene in frames], axis=1)[:, :, None],
        plate=tables.screen(design.name),
        well=f"{well.number:05d}",
        site="1",
        regions={REGION: _segmented(frames)},
        tracks=_tracks(frames),
        timestamps=np.arange(len(frames)) * _SECONDS,
    )


def _segmented(frames: Sequence[Scene]) -> cellh5.Segmented:
    """The true labels as the file's own region, with two features and the true kind of each nucleus as its class."""
    kinds = np.concatenate([scene.cells.kind for scene in frames])
    names = ("Area", f"Light_{frames[0].channels[0]}")
    rows = [np.column_stack([scene.table()[name].to_numpy() for name in names]) for scene in frames]
    return cellh5.Segmented(
        np.stack([scene.labels.astype(np.uint16) for scene in frames]),
        features=np.concatenate(rows).astype(np.float64),
        feature_names=("roisize", "n_avg"),
        classes=KINDS,
        predictions=kinds.astype(np.int32),
        probabilities=np.eye(len(KINDS))[kinds],
    )


def _tracks(frames: Sequence[Scene]) -> NDArray[np.int64]:
    """Pairs (from, to) of object rows: the same cell in one frame and the next, known by its grain."""
    pairs, start = [np.empty((0, 2), np.int64)], 0
    for one, following in pairwise(frames):
        where = {tuple(grain): row for row, grain in enumerate(following.cells.grain.tolist())}
        next_start = start + len(one.cells)
        ways = ((start + row, where.get(tuple(grain))) for row, grain in enumerate(one.cells.grain.tolist()))
        found = [(row, next_start + there) for row, there in ways if there is not None]
        pairs.append(np.array(found, np.int64).reshape(-1, 2))
        start = next_start
    return np.concatenate(pairs)
