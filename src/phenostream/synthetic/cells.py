"""Who lives in a synthetic field: positions, shapes and states of its nuclei, before any light falls on them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

KINDS = ("interphase", "metaphase", "anaphase", "prometaphase", "apoptotic", "polylobed")
_HARMONICS = 4
_SPOTS = 4
_LOBES = 6
_TRIES = 60


@dataclass(frozen=True, slots=True)
class Population:
    """What kind of cells a field holds.

    Attributes:
        diameter: mean diameter of an interphase nucleus, px.
        spread: its relative standard deviation.
        elongation: mean ratio of the long axis to the short one.
        touching: share of nuclei that touch another one.
        mitotic: share of nuclei in mitosis.
        apoptotic: share of dying nuclei, in bright fragments.
        polylobed: share of nuclei with several lobes.
        brightness: factor on the DNA signal of every nucleus.
        ratio: mean of the second channel in the nucleus over that in the cytoplasm.
        debris: bright specks that are no nuclei.
    """

    diameter: float = 27.0
    spread: float = 0.13
    elongation: float = 1.35
    touching: float = 0.3
    mitotic: float = 0.04
    apoptotic: float = 0.02
    polylobed: float = 0.02
    brightness: float = 1.0
    ratio: float = 0.5
    debris: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """N nuclei and their cells, one row each; lengths in px, angles in radians.

    Attributes:
        centre: (N, 2) as (y, x).
        axes: (N, 2) long and short half axis of the outline's ellipse.
        angle: (N,) direction of the long axis, from x towards y.
        waves: (N, 4, 2) amplitude and phase of the outline's deviations with 2 to 5 periods.
        spots: (N, 4, 4) nucleoli as (y, x, radius, depth), in units of the short half axis.
        lobes: (N, 6, 3) as (y, x, radius) in units of the short half axis; radius 0: no such lobe.
        level: (N,) DNA signal relative to an average interphase nucleus.
        rough: (N,) strength of the chromatin's texture.
        grain: (N, 2) where in the texture tile each nucleus takes its own.
        body: (N, 3) long and short half axis and angle of the cell.
        expression: (N,) second channel's level in the cytoplasm, relative.
        ratio: (N,) second channel in the nucleus over that in the cytoplasm.
        kind: (N,) index into ``KINDS``.
        debris: (M, 4) specks as (y, x, radius, level).
    """

    centre: Array
    axes: Array
    angle: Array
    waves: Array
    spots: Array
    lobes: Array
    level: Array
    rough: Array
    grain: NDArray[np.int64]
    body: Array
    expression: Array
    ratio: Array
    kind: NDArray[np.int64]
    debris: Array

    def __len__(self) -> int:
        return len(self.centre)

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Cells:
        """The cells of these rows, with all of the debris."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "debris"]
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in names})

    def moved(self, rng: np.random.Generator, step: float, turn: float = 0.05) -> Cells:
        """The same cells a moment later: a random walk of `step` px and `turn` radians (standard deviations)."""
        return dataclasses.replace(
            self,
            centre=self.centre + rng.normal(0, step, self.centre.shape),
            angle=self.angle + rng.normal(0, turn, len(self)),
        )


def populate(rng: np.random.Generator, shape: tuple[int, int], n: int, population: Population) -> Cells:
    """`n` cells on a field of `shape` (Y, X); fewer where no more fit.

    Centres lie inside the field, so nuclei at its edges are cut. Touching nuclei stand outline to outline.
    """
    kind = _kinds(rng, n, population)
    short, long = _sizes(rng, kind, population)
    angle = rng.uniform(0, np.pi, n)
    _align_daughters(kind, angle)
    centre = _places(rng, shape, np.column_stack((long, short)), angle, kind, population.touching)
    cells = Cells(
        centre, np.column_stack((long, short)), angle, _waves(rng, kind), _spots(rng, kind), _lobes(rng, kind),
        _levels(rng, kind) * population.brightness, np.where(kind == 0, 0.10, 0.22) * rng.uniform(0.6, 1.4, n),
        rng.integers(0, 512, (n, 2)), _bodies(rng, angle, population), rng.lognormal(0, 0.35, n),
        population.ratio * rng.lognormal(0, 0.12, n), kind, _debris(rng, shape, population),
    )  # fmt: skip
    return cells.at(np.isfinite(centre[:, 0]))


def _kinds(rng: np.random.Generator, n: int, population: Population) -> NDArray[np.int64]:
    mitotic = population.mitotic
    shares = np.array([0, mitotic * 0.5, mitotic * 0.15, mitotic * 0.2, population.apoptotic, population.polylobed])
    shares[0] = 1 - shares.sum()
    kind = rng.choice(len(KINDS), size=n, p=shares)
    for index in np.flatnonzero(kind == 2):  # daughters come in twos
        if index + 1 < n:
            kind[index + 1] = 2
    return _paired(kind)


def _paired(kind: NDArray[np.int64]) -> NDArray[np.int64]:
    for first, second in _runs(kind == 2):
        if (second - first) % 2:
            kind[second - 1] = 0
    return kind


def _runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(int), [0]))))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _sizes(rng: np.random.Generator, kind: NDArray[np.int64], population: Population) -> tuple[Array, Array]:
    n = len(kind)
    size = population.diameter / 2 * np.clip(rng.normal(1, population.spread, n), 0.5, 1.8)
    size *= np.choose(kind, (1.0, 0.62, 0.55, 0.85, 0.62, 1.15))
    ratio = 1 + (population.elongation - 1) * rng.gamma(4, 0.25, n)
    ratio = np.where(kind == 0, ratio, np.choose(kind, (1.0, 2.9, 2.4, 1.1, 1.0, 1.0)))
    return size / np.sqrt(ratio), size * np.sqrt(ratio)


def _align_daughters(kind: NDArray[np.int64], angle: Array) -> None:
    for first, second in _runs(kind == 2):
        for index in range(first, second - 1, 2):
            angle[index + 1] = angle[index]


def _places(
    rng: np.random.Generator,
    shape: tuple[int, int],
    axes: Array,
    angle: Array,
    kind: NDArray[np.int64],
    touching: float,
) -> Array:
    """Centres (N, 2), NaN where nothing fitted: scattered, some of them beside an earlier nucleus."""
    centre = np.full((len(kind), 2), np.nan)
    daughters = {index + 1 for first, second in _runs(kind == 2) for index in range(first, second - 1, 2)}
    for index in range(len(kind)):
        if index in daughters:
            centre[index] = _opposite(centre[index - 1], axes[index], angle[index])
            continue
        beside = rng.random() < touching / 2  # each such nucleus makes two of them touch
        for _ in range(_TRIES):
            guest = _beside(rng, centre, axes, angle, index) if beside and index else None
            at = rng.uniform((0, 0), shape) if guest is None else guest
            if _inside(at, shape) and _fits(at, index, centre, axes, touching=guest is not None):
                centre[index] = at
                break
    return centre


def _opposite(centre: Array, axes: Array, angle: float) -> Array:
    normal = np.array((np.cos(angle), -np.sin(angle)))
    return np.asarray(centre + normal * 2.1 * axes.mean())


def _beside(rng: np.random.Generator, centre: Array, axes: Array, angle: Array, index: int) -> Array | None:
    hosts = np.flatnonzero(np.isfinite(centre[:index, 0]))
    if not len(hosts):
        return None
    host, way = rng.choice(hosts), rng.uniform(0, 2 * np.pi)
    reach = sum(_radius(axes[one], way - angle[one]) for one in (host, index))
    return np.asarray(centre[host] + reach * rng.uniform(0.95, 1.0) * np.array((np.sin(way), np.cos(way))))


def _radius(axes: Array, way: float) -> float:
    long, short = axes
    return float(long * short / np.hypot(short * np.cos(way), long * np.sin(way)))


def _inside(at: Array, shape: tuple[int, int]) -> bool:
    return bool(0 <= at[0] < shape[0] and 0 <= at[1] < shape[1])


def _fits(at: Array, index: int, centre: Array, axes: Array, *, touching: bool) -> bool:
    """Whether a nucleus there keeps its distance: clear of every long axis or, where it may touch, mostly."""
    reach = axes.mean(axis=1) * 0.8 if touching else axes[:, 0] * 1.06 + 0.5
    return bool(np.all(~(np.hypot(*(centre[:index] - at).T) < reach[:index] + reach[index])))


def _waves(rng: np.random.Generator, kind: NDArray[np.int64]) -> Array:
    size = np.choose(kind, (0.022, 0.05, 0.05, 0.07, 0.0, 0.0))[:, None] / np.arange(1, _HARMONICS + 1) ** 0.5
    return np.stack(
        (rng.normal(0, 1, (len(kind), _HARMONICS)) * size, rng.uniform(0, 2 * np.pi, (len(kind), _HARMONICS))), axis=2
    )


def _spots(rng: np.random.Generator, kind: NDArray[np.int64]) -> Array:
    n = (len(kind), _SPOTS)
    way, far = rng.uniform(0, 2 * np.pi, n), 0.65 * np.sqrt(rng.random(n))
    depth = rng.uniform(0.1, 0.4, n) * (rng.random(n) < 0.6) * (kind == 0)[:, None]
    return np.stack((far * np.sin(way), far * np.cos(way), rng.uniform(0.13, 0.24, n), depth), axis=2)


def _lobes(rng: np.random.Generator, kind: NDArray[np.int64]) -> Array:
    """Discs that hang together: fragments of dying nuclei, lobes of lobed ones."""
    lobes = np.zeros((len(kind), _LOBES, 3))
    for index in np.flatnonzero(kind >= 4):
        dying = KINDS[kind[index]] == "apoptotic"
        number = rng.integers(3, _LOBES + 1) if dying else rng.integers(2, 5)
        radius = rng.uniform(0.3, 0.55, number) if dying else rng.uniform(0.55, 0.75, number)
        at = np.zeros((number, 2))
        for k in range(1, number):
            host, way = rng.integers(0, k), rng.uniform(0, 2 * np.pi)
            at[k] = at[host] + (0.75 if dying else 0.6) * (radius[host] + radius[k]) * np.array(
                (np.sin(way), np.cos(way))
            )
        lobes[index, :number] = np.column_stack((at - at.mean(axis=0), radius))
    return lobes


def _levels(rng: np.random.Generator, kind: NDArray[np.int64]) -> Array:
    # Half of the cells have replicated their DNA; condensed chromatin is brighter.
    cycle = rng.choice((0.85, 1.2), len(kind)) * rng.lognormal(0, 0.12, len(kind))
    return np.asarray(cycle * np.choose(kind, (1.0, 2.8, 2.6, 1.7, 2.2, 0.95)))


def _bodies(rng: np.random.Generator, angle: Array, population: Population) -> Array:
    size = population.diameter * rng.uniform(1.0, 1.3, len(angle))
    ratio = np.sqrt(rng.uniform(1.1, 1.9, len(angle)))
    return np.column_stack((size * ratio, size / ratio, angle + rng.normal(0, 0.3, len(angle))))


def _debris(rng: np.random.Generator, shape: tuple[int, int], population: Population) -> Array:
    m = population.debris
    return np.column_stack(
        (rng.uniform((0, 0), shape, (m, 2)), rng.uniform(0.6, 1.8, m), rng.lognormal(0, 0.5, m))
    )  # fmt: skip
