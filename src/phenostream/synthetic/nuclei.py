"""Fields of nuclei that look like fluorescence microscopy, with everything about them known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy import ndimage

from phenostream.synthetic.camera import Camera, Optics, blurred, halo
from phenostream.synthetic.cells import KINDS, Cells, Population, populate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TILE = 512
_MARGIN = 1.35
_CYTOPLASM = 0.45


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One synthetic field and the truth about it.

    Attributes:
        image: (C, Y, X) uint8 or uint16, as a microscope would have written it.
        labels: (Y, X) int32, 1 to N where nucleus n is, 0 elsewhere; every nucleus is there and in one piece.
        flatfield: (C, Y, X) float32, mean 1: what an illumination correction should find.
        darkfield: (C, Y, X) float32, grey levels.
        light: (C, Y, X) float32, grey levels above the dark-field under even light, without noise.
        cells: the N nuclei in the order of their labels.
        channels: names of the channels.
    """

    image: NDArray[Any]
    labels: NDArray[np.int32]
    flatfield: NDArray[np.float32]
    darkfield: NDArray[np.float32]
    light: NDArray[np.float32]
    cells: Cells
    channels: tuple[str, ...]

    @property
    def centroids(self) -> NDArray[np.float64]:
        """Centres of mass (N, 2) of the labels' pixels, as (y, x), px from 0."""
        if not len(self.cells):
            return np.zeros((0, 2))
        numbers = np.arange(1, len(self.cells) + 1)
        return np.asarray(ndimage.center_of_mass(np.ones_like(self.labels), self.labels, numbers))

    def table(self) -> pa.Table:
        """One row a nucleus: ObjectNumber, Center_X, Center_Y, Area (px), Kind, Ratio, mean light by channel."""
        n = len(self.cells)
        numbers, centres = np.arange(1, n + 1), self.centroids
        means = {
            f"Light_{name}": ndimage.mean(self.light[c], self.labels, numbers) if n else np.zeros(0)
            for c, name in enumerate(self.channels)
        }
        return pa.table(
            {
                "ObjectNumber": pa.array(numbers, pa.int64()),
                "Center_X": centres[:, 1],
                "Center_Y": centres[:, 0],
                "Area": pa.array(np.bincount(self.labels.ravel(), minlength=n + 1)[1:], pa.int64()),
                "Kind": pa.array([KINDS[kind] for kind in self.cells.kind], pa.string()),
                "Ratio": self.cells.ratio,
                **{name: np.asarray(values, np.float64) for name, values in means.items()},
            }
        )


def field(
    rng: np.random.Generator,
    *,
    shape: tuple[int, int] = (1024, 1344),
    n: int = 240,
    channels: Sequence[str] = ("DNA",),
    population: Population = Population(),  # noqa: B008  (frozen)
    optics: Optics = Optics(),  # noqa: B008
    camera: Camera = Camera(),  # noqa: B008
) -> Scene:
    """A field of about `n` nuclei (fewer where no more fit; 0 gives an empty one).

    The first channel shows DNA; a second one shows a protein in cytoplasm and nucleus, whose ratio is
    `population.ratio`; further ones repeat the second with other levels.

    Args:
        rng: the only source of chance: the same state gives the same field.
        shape: (Y, X) px.
        n: nuclei wanted.
        channels: names of the channels.
        population: what the cells are like.
        optics: blur, vignetting and background.
        camera: bit depth, offset and noise.
    """
    return photograph(rng, populate(rng, shape, n, population), shape, channels=channels, optics=optics, camera=camera)


def photograph(
    rng: np.random.Generator,
    cells: Cells,
    shape: tuple[int, int],
    *,
    channels: Sequence[str] = ("DNA",),
    optics: Optics = Optics(),  # noqa: B008  (frozen)
    camera: Camera = Camera(),  # noqa: B008
    grain: NDArray[np.float32] | None = None,
) -> Scene:
    """The field (Y, X of `shape`) of these `cells`; those that lie outside it are left out of the truth.

    `grain` is the texture tile (512, 512) that all nuclei take theirs from; drawn from `rng` where not given.
    """
    tile = texture(rng) if grain is None else grain
    dna, labels, cells = _nuclei(cells, shape, tile)
    layers = [dna + _specks(cells, shape)]
    layers += [_protein(cells, labels, tile) for _ in channels[1:]]
    flat, dark = optics.flatfield(shape), camera.darkfield(shape)
    light = np.stack([_lit(layer, optics, camera) for layer in layers])
    image = np.stack([camera.expose(one * flat, dark, rng) for one in light])
    every = np.broadcast_to(flat, light.shape), np.broadcast_to(dark, light.shape)
    return Scene(image, labels, *every, light, cells, tuple(channels))


def texture(rng: np.random.Generator) -> NDArray[np.float32]:
    """A tile (512, 512) of chromatin-like grain: mean 0, standard deviation 1, seamless at its edges."""
    fine, coarse = (
        ndimage.gaussian_filter(rng.standard_normal((_TILE, _TILE), np.float32), sigma, mode="wrap")
        for sigma in (1.2, 3.0)
    )
    tile = fine / fine.std() + 1.3 * coarse / coarse.std()
    return np.asarray((tile - tile.mean()) / tile.std(), np.float32)


def _lit(layer: NDArray[np.float32], optics: Optics, camera: Camera) -> NDArray[np.float32]:
    # Cells glow into the medium around them, so the background is higher where there are many.
    spread = halo(layer, 60.0)
    return np.asarray(camera.level() * (blurred(layer, optics) + optics.background * (0.6 + 2 * spread)), np.float32)


def _nuclei(
    cells: Cells, shape: tuple[int, int], tile: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int32], Cells]:
    """DNA (Y, X), labels, the cells that can be seen; where nuclei meet, a pixel is of the one it lies deeper in."""
    dna = np.zeros(shape, np.float32)
    labels = np.zeros(shape, np.int32)
    depth = np.ones(shape, np.float32)
    for index in range(len(cells)):
        box = _box(cells.centre[index], _reach(cells, index), shape)
        if box is None:
            continue
        distance, y, x = _outline(cells, index, box)
        dna[box] += _chromatin(cells, index, distance, y, x) * _grained(cells, index, box, tile)
        deeper = distance < depth[box]
        depth[box][deeper] = distance[deeper]
        labels[box][deeper] = index + 1
    return dna, *_seen(labels, cells)


def _seen(labels: NDArray[np.int32], cells: Cells) -> tuple[NDArray[np.int32], Cells]:
    """Labels 1 to N of the nuclei that have pixels, each reduced to its largest piece."""
    kept = np.zeros_like(labels)
    rows = []
    for index, place in enumerate(ndimage.find_objects(labels, max_label=len(cells))):
        if place is None:
            continue
        pieces, number = ndimage.label(labels[place] == index + 1)
        largest = 1 if number == 1 else int(np.bincount(pieces.ravel())[1:].argmax()) + 1
        rows.append(index)
        kept[place][pieces == largest] = len(rows)
    return kept, cells.at(np.array(rows, dtype=int))


def _reach(cells: Cells, index: int) -> float:
    lobed = np.hypot(*cells.lobes[index, :, :2].T) + cells.lobes[index, :, 2]
    return float(max(cells.axes[index, 0] * _MARGIN, lobed.max() * cells.axes[index, 1])) + 2


def _box(centre: NDArray[Any], reach: float, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    low = np.maximum(np.floor(centre - reach).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach).astype(int) + 1, shape)
    return None if (low >= high).any() else (slice(low[0], high[0]), slice(low[1], high[1]))


def _local(
    centre: NDArray[Any], angle: float, box: tuple[slice, slice]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coordinates of the box's pixels across and along an axis through `centre`, px."""
    y = np.arange(box[0].start, box[0].stop, dtype=np.float32)[:, None] - np.float32(centre[0])
    x = np.arange(box[1].start, box[1].stop, dtype=np.float32)[None, :] - np.float32(centre[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return y * cos - x * sin, x * cos + y * sin


def _outline(
    cells: Cells, index: int, box: tuple[slice, slice]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Distance from the centre, 1 at the outline, and the coordinates of the pixels in short half axes."""
    across, along = _local(cells.centre[index], float(cells.angle[index]), box)
    long, short = (np.float32(axis) for axis in cells.axes[index])
    y, x = across / short, along / short
    lobes = cells.lobes[index][cells.lobes[index, :, 2] > 0].astype(np.float32)
    if len(lobes):
        nearest = np.min([np.hypot(y - lobe[0], x - lobe[1]) / lobe[2] for lobe in lobes], axis=0)
        return nearest, y, x
    distance = np.hypot(across / short, along / long)
    return distance / _wavy(np.arctan2(across / short, along / long), cells.waves[index]), y, x


def _wavy(way: NDArray[np.float32], waves: NDArray[np.float64]) -> NDArray[np.float32]:
    wavy = np.ones_like(way)
    for period, (size, phase) in enumerate(waves.astype(np.float32), start=2):
        if size:
            wavy += size * np.cos(np.float32(period) * way + phase)
    return wavy


def _chromatin(
    cells: Cells, index: int, distance: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    # A flattened lens of DNA: nearly even in the middle, thin at the rim.
    lens = np.maximum(1 - distance * distance, 0) ** np.float32(0.3)
    for spot in cells.spots[index][cells.spots[index, :, 3] > 0].astype(np.float32):
        lens *= 1 - spot[3] * np.exp(-((y - spot[0]) ** 2 + (x - spot[1]) ** 2) / (2 * spot[2] ** 2))
    return np.asarray(np.float32(cells.level[index]) * lens, np.float32)


def _grained(cells: Cells, index: int, box: tuple[slice, slice], tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nucleus's own piece of the texture, which moves with it."""
    start = cells.grain[index] - np.floor(cells.centre[index]).astype(int)
    rows, columns = (np.arange(side.start, side.stop) + at for side, at in zip(box, start, strict=True))
    piece = tile.take(rows, axis=0, mode="wrap").take(columns, axis=1, mode="wrap")
    return np.asarray(np.maximum(1 + np.float32(cells.rough[index]) * piece, 0), np.float32)


def _specks(cells: Cells, shape: tuple[int, int]) -> NDArray[np.float32]:
    light = np.zeros(shape, np.float32)
    for y, x, radius, level in cells.debris:
        box = _box(np.array((y, x)), 4 * radius + 1, shape)
        if box is not None:
            across, along = _local(np.array((y, x)), 0.0, box)
            light[box] += level * np.exp(-(across**2 + along**2) / np.float32(2 * radius**2))
    return light


def _protein(cells: Cells, labels: NDArray[np.int32], tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Second channel (Y, X): cell bodies, and in each nucleus the cell's level times its ratio."""
    light = np.zeros(labels.shape, np.float32)
    for index in range(len(cells)):
        box = _box(cells.centre[index], 1.3 * cells.body[index, 0], labels.shape)
        if box is not None:
            np.maximum(light[box], _body(cells, index, box), out=light[box])
    level = np.concatenate(([0], _CYTOPLASM * cells.expression * cells.ratio)).astype(np.float32)
    nucleus = labels > 0
    light[nucleus] = level[labels[nucleus]]
    rows, columns = (np.arange(size) for size in labels.shape)
    light *= 1 + np.float32(0.06) * tile.take(rows, axis=0, mode="wrap").take(columns, axis=1, mode="wrap")
    return light


def _body(cells: Cells, index: int, box: tuple[slice, slice]) -> NDArray[np.float32]:
    long, short, angle = cells.body[index].astype(np.float32)
    across, along = _local(cells.centre[index], float(angle), box)
    across, along = across / short, along / long
    distance = np.hypot(across, along) / _wavy(np.arctan2(across, along), _bodily(cells.waves[index]))
    thick = np.minimum(np.maximum(1.05 - distance, 0) * np.float32(4), 1)
    return np.asarray(np.float32(_CYTOPLASM * cells.expression[index]) * thick, np.float32)


def _bodily(waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline of the cell follows that of its nucleus, five times as uneven."""
    return np.column_stack((np.clip(5 * waves[:, 0], -0.15, 0.15), waves[:, 1]))
