"""Plates of synthetic fields: controls, doses, a response to them, plate effects, and wells that went wrong."""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass, field
from string import ascii_uppercase
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from phenostream.errors import RecipeError
from phenostream.synthetic.camera import Camera, Optics
from phenostream.synthetic.cells import Population, populate
from phenostream.synthetic.nuclei import Scene, photograph, texture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Trouble = Literal["", "empty", "dead", "blurred", "missing", "damaged"]

PLATE_COLUMNS = 24
"""Columns by which well numbers count, as on the 384-well plates of the archives, however few wells are filled."""


@dataclass(frozen=True, slots=True)
class Design:
    """One plate. Column 1 holds negative controls, the last one positive ones, doses rise in between.

    Attributes:
        name: of the plate.
        rows: rows in use, from A.
        columns: columns in use, from 1; at least 2.
        sites: fields a well.
        frames: time points; nuclei move between them.
        shape: (Y, X) of a field, px.
        channels: names; see `nuclei.field`.
        nuclei: about so many in an untreated field.
        doses: in the columns between the controls, repeated where there are more columns.
        ec50: dose of half the effect.
        plate_effect: standard deviation of the logarithm of brightness between plates.
        troubles: wells that went wrong: ``empty`` of cells, ``dead``, ``blurred``; and two faults of archives:
            ``missing`` (in the tables, not in the archive) and ``damaged`` (a file ends early).
        optics: of every field.
        camera: of every field.
        seed: with the plate's name, the well and the site it determines every pixel.

    Raises:
        RecipeError: not 1 to 16 rows, 2 to 24 columns, and at least one site and frame.
    """

    name: str = "LT0001_02"
    rows: int = 4
    columns: int = 6
    sites: int = 1
    frames: int = 1
    shape: tuple[int, int] = (512, 512)
    channels: tuple[str, ...] = ("DNA", "GFP")
    nuclei: int = 60
    doses: tuple[float, ...] = (0.1, 0.5, 2.0, 10.0)
    ec50: float = 1.0
    plate_effect: float = 0.1
    troubles: Mapping[str, Trouble] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    optics: Optics = Optics()  # noqa: RUF009  (frozen)
    camera: Camera = Camera()  # noqa: RUF009  (frozen)
    seed: int = 0

    def __post_init__(self) -> None:
        if not (1 <= self.rows <= 16 and 2 <= self.columns <= PLATE_COLUMNS and self.sites >= 1 and self.frames >= 1):
            raise RecipeError(
                f"no plate of {self.rows} x {self.columns} wells, {self.sites} sites, {self.frames} frames",
                remedy="use 1 to 16 rows, 2 to 24 columns, and at least one site and frame",
            )


@dataclass(frozen=True, slots=True)
class Well:
    """One well and what was done to it.

    Attributes:
        name: ``A4``.
        number: counted row by row over ``PLATE_COLUMNS`` columns, from 1.
        control: ``negative control``, ``positive control`` or empty.
        gene: what is targeted: one gene a row; a control says so.
        dose: of the treatment; 0 for negative controls.
        effect: true response, from 0 (none) to 1 (full): more of the second channel in the nucleus, fewer cells.
        trouble: what went wrong here, or empty.
    """

    name: str
    number: int
    control: str
    gene: str
    dose: float
    effect: float
    trouble: Trouble = ""


def wells(design: Design) -> tuple[Well, ...]:
    """The wells of a plate, row by row."""
    return tuple(_well(design, row, column) for row in range(design.rows) for column in range(design.columns))


def scenes(design: Design, well: Well, site: int = 1) -> Iterator[Scene]:
    """The frames of one field, one after the other; independent of which other fields are made.

    Every frame shows the same nuclei in the same order, except those that have left the field.
    """
    rng = np.random.default_rng((design.seed, _number(design.name), well.number, site))
    cells = populate(rng, design.shape, _count(design, well, rng), _population(design, well))
    optics = dataclasses.replace(design.optics, defocus=6.0) if well.trouble == "blurred" else design.optics
    grain = texture(rng)
    for _ in range(design.frames):
        yield photograph(
            rng, cells, design.shape, channels=design.channels, optics=optics, camera=design.camera, grain=grain
        )
        cells = cells.moved(rng, step=design.shape[1] / 400)


def response(dose: float, ec50: float) -> float:
    """Share of the full effect at this dose: a Hill curve with slope 1.5."""
    return float(dose**1.5 / (dose**1.5 + ec50**1.5)) if dose > 0 else 0.0


def _well(design: Design, row: int, column: int) -> Well:
    letter = ascii_uppercase[row]
    name, number = f"{letter}{column + 1}", row * PLATE_COLUMNS + column + 1
    trouble = design.troubles.get(name, "")
    if column == 0:
        return Well(name, number, "negative control", "negative control", 0.0, 0.0, trouble)
    if column == design.columns - 1:
        return Well(name, number, "positive control", "positive control", design.ec50 * 100, 1.0, trouble)
    dose = design.doses[(column - 1) % len(design.doses)]
    return Well(name, number, "", f"GENE{row + 1}", dose, response(dose, design.ec50), trouble)


def _count(design: Design, well: Well, rng: np.random.Generator) -> int:
    if well.trouble == "empty":
        return 0
    usual = design.nuclei * (1 - 0.35 * well.effect)
    return int(rng.poisson(usual * (0.15 if well.trouble == "dead" else 1.0)))


def _population(design: Design, well: Well) -> Population:
    plate = np.random.default_rng((design.seed, _number(design.name)))
    brightness = float(plate.lognormal(0, design.plate_effect))
    dead = well.trouble == "dead"
    return Population(
        diameter=27.0 * (1 + 0.12 * well.effect),
        ratio=0.45 + 1.4 * well.effect,
        brightness=brightness,
        apoptotic=0.9 if dead else 0.02,
        mitotic=0.0 if dead else 0.04 * (1 - 0.8 * well.effect),
        debris=40 if dead else 0 if well.trouble == "empty" else 8,
    )


def _number(name: str) -> int:
    return zlib.crc32(name.encode())
