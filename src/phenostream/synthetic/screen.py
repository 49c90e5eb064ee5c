"""A perturbation screen laid out as RxRx1: six channels, true effects, plate and experiment batches, and its troubles.

Every pixel follows from the design and the site alone, whichever other sites are made. What each perturbation does to
its cells is known (`effect_of`), and so is what each batch does to the light (`light_of`).
"""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from phenostream.errors import RecipeError
from phenostream.formats import png
from phenostream.synthetic.staining import Effect, StainedCells, stained
from phenostream.values import Channel, Field, FieldId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


CHANNELS: Final = (
    Channel("DNA", "Hoechst"),
    Channel("ER", "Concanavalin A"),
    Channel("Actin", "Phalloidin"),
    Channel("RNA", "SYTO 14"),
    Channel("Mito", "MitoTracker"),
    Channel("Golgi", "WGA"),
)
# Nuclear radius (px at a field of 64), cells a field, and elongation of the bodies.
_CELL_TYPES: Final = {"HUVEC": (4.2, 9, 1.7), "RPE": (4.6, 8, 1.3), "HEPG2": (3.8, 12, 1.1), "U2OS": (4.8, 7, 1.4)}
_LEVELS: Final = (30.0, 22.0, 18.0, 17.0, 14.0, 15.0)  # grey levels at unit gain, about, where there is a cell


@dataclass(frozen=True, slots=True)
class ScreenDesign:
    """One screen.

    Attributes:
        experiments: names, a cell type of HUVEC, RPE, HEPG2 or U2OS before the ``-``.
        test_experiments: of these, the ones of the dataset ``test``; the others are ``train``.
        plates: of an experiment; each holds a fixed group of the perturbations, in an order that rotates.
        perturbations: treatments, numbered from 0; one well in each experiment.
        positives: controls with an effect, on every plate.
        negatives: untreated wells of every plate.
        sites: fields a well.
        shape: (Y, X) of a field, px.
        strength: of the perturbations' effects; 0: none.
        brightness_spread: brightest experiment over the dimmest, in each channel.
        plate_spread: standard deviation of the logarithm of brightness between plates.
        missing: share of sites without images.
        dead: share of treated wells whose cells died of something else.
        seed: of everything.

    Raises:
        RecipeError: an unknown cell type, a test experiment that is none, or more wells than 14 x 22.
    """

    experiments: tuple[str, ...] = ("HUVEC-01", "HUVEC-02", "HUVEC-03", "RPE-01", "RPE-02", "RPE-03")
    test_experiments: tuple[str, ...] = ("HUVEC-03", "RPE-03")
    plates: int = 2
    perturbations: int = 12
    positives: int = 2
    negatives: int = 2
    sites: int = 2
    shape: tuple[int, int] = (64, 64)
    strength: float = 1.0
    brightness_spread: float = 16.0
    plate_spread: float = 0.12
    missing: float = 0.01
    dead: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.experiments if name.partition("-")[0] not in _CELL_TYPES]:
            raise RecipeError(f"experiment {unknown[0]!r}", remedy=f"begin with one of {', '.join(_CELL_TYPES)}")
        if lost := {*self.test_experiments} - {*self.experiments}:
            raise RecipeError(f"{min(lost)!r} is not among the experiments", remedy="test experiments are some of them")
        most = -(-self.perturbations // self.plates) + self.positives + self.negatives
        if most > 14 * 22:
            raise RecipeError(f"{most} wells a plate", remedy="RxRx1 plates have 308: use more plates")


@dataclass(frozen=True, slots=True)
class Site:
    """One site of the screen and the truth about it.

    Attributes:
        experiment: ``HUVEC-01``.
        plate: number, from 1.
        well: ``B02``.
        site: number, from 1.
        sirna_id: the perturbation; treatments first, then positive controls, then the untreated.
        well_type: ``treatment``, ``positive_control`` or ``negative_control``.
        dataset: ``train`` or ``test``.
        trouble: ``missing``, ``dead`` or empty.
    """

    experiment: str
    plate: int
    well: str
    site: int
    sirna_id: int
    well_type: str
    dataset: str
    trouble: str = ""

    @property
    def cell_type(self) -> str:
        """What stands before the ``-`` of the experiment."""
        return self.experiment.partition("-")[0]

    @property
    def well_id(self) -> str:
        """``HUVEC-01_1_B02``."""
        return f"{self.experiment}_{self.plate}_{self.well}"

    @property
    def site_id(self) -> str:
        """``HUVEC-01_1_B02_1``."""
        return f"{self.well_id}_{self.site}"

    @property
    def sirna(self) -> str:
        """Name of the reagent: ``s10007``; ``EMPTY`` for the untreated."""
        return "EMPTY" if self.well_type == "negative_control" else f"s{10000 + self.sirna_id}"


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """What a plate of an experiment does to the light.

    Attributes:
        gain: (6,) factor of each channel.
        background: (6,) grey levels without cells.
        tilt: (2,) of the field's brightness along y and x, as a share.
    """

    gain: NDArray[np.float64]
    background: NDArray[np.float64]
    tilt: NDArray[np.float64]


def sites(design: ScreenDesign) -> tuple[Site, ...]:
    """Every site, those with troubles included: by experiment, plate, well and site."""
    found = [site for experiment in range(len(design.experiments)) for site in _experiment(design, experiment)]
    return tuple(
        sorted(found, key=lambda one: (design.experiments.index(one.experiment), one.plate, one.well, one.site))
    )


def pixels(design: ScreenDesign, site: Site) -> NDArray[np.uint8]:
    """The image (6, Y, X) of a site."""
    rng = _rng(design, "site", site.site_id)
    cells = _cells(design, site, rng)
    stack = stained(rng, cells, design.shape, effect_of(design, site.sirna_id))
    light = light_of(design, site.experiment, site.plate)
    y, x = (np.linspace(-0.5, 0.5, size, dtype=np.float32) for size in design.shape)
    evenness = 1 + light.tilt[0] * y[:, None] + light.tilt[1] * x[None, :]
    gain = (light.gain * np.array(_LEVELS)).astype(np.float32)[:, None, None]
    levels = stack * gain * evenness.astype(np.float32) + light.background.astype(np.float32)[:, None, None]
    noise = rng.standard_normal(levels.shape, np.float32) * np.sqrt(0.15 * np.maximum(levels, 0) + 0.1)
    return np.asarray(np.clip(np.rint(levels + noise), 0, 255), np.uint8)


def fields(design: ScreenDesign) -> tuple[Field, ...]:
    """The sites that have images, as fields with all that the metadata tells; pixels are made when read."""
    return tuple(_field(design, site) for site in sites(design) if site.trouble != "missing")


def write_screen(
    folder: Path | str, design: ScreenDesign, *, dialect: Literal["official", "kaggle"] = "official"
) -> Path:
    """Write the screen as PNG files and metadata, in the layout of RxRx1.

    Args:
        folder: absent or empty; gets ``images/`` and ``metadata.csv`` or ``metadata/``.
        design: of the screen.
        dialect: ``official``: a row a site that has images, ``images/HUVEC-01/Plate1/B02_s1_w1.png``; ``kaggle``: four
            tables with a row a well, images below ``train`` and ``test``, and no labels of test treatments.

    Returns:
        The table, or the folder of tables.

    Raises:
        RecipeError: the folder is not empty.
    """
    root = Path(folder)
    if root.exists() and any(root.iterdir()):
        raise RecipeError(f"{root} is not empty", remedy="choose a new folder")
    found = sites(design)
    for site in found:
        if site.trouble != "missing":
            _write_images(root / "images" / (site.dataset if dialect == "kaggle" else ""), site, pixels(design, site))
    return _official(root, found) if dialect == "official" else _kaggle(root / "metadata", found)


@lru_cache(maxsize=4096)
def effect_of(design: ScreenDesign, sirna_id: int) -> Effect:
    """The true effect of a perturbation; that of the untreated is nothing."""
    total = design.perturbations + design.positives
    rng = _rng(design, "effect", str(sirna_id))
    strength = 0.0 if sirna_id >= total else design.strength * (1.4 if sirna_id >= design.perturbations else 1.0)

    def factors(spread: float, size: int) -> NDArray[np.float64]:
        # Bimodal, so that no perturbation is by chance like the untreated in everything.
        return np.asarray(np.exp(strength * spread * rng.choice((-1, 1), size) * rng.uniform(0.4, 1.2, size)))

    count, size, elongation = factors(0.35, 1)[0], factors(0.14, 1)[0], factors(0.25, 1)[0]
    return Effect(float(count), float(size), float(elongation), factors(0.30, 6), factors(0.55, 6))


@lru_cache(maxsize=4096)
def light_of(design: ScreenDesign, experiment: str, plate: int) -> Light:
    """The true batch effect of a plate: its experiment's, and a little of its own."""
    return Light(
        _gains(design)[design.experiments.index(experiment)]
        * np.exp(_rng(design, "plate", f"{experiment}_{plate}").normal(0, design.plate_spread, len(CHANNELS))),
        _rng(design, "background", experiment).uniform(0.1, 0.5, 6),
        _rng(design, "tilt", experiment).normal(0, 0.15, 2),
    )


@lru_cache(maxsize=64)
def _gains(design: ScreenDesign) -> NDArray[np.float64]:
    """(experiments, 6) factors whose extremes are exactly `brightness_spread` apart in each channel."""
    n = len(design.experiments)
    powers = np.linspace(-0.5, 0.5, n) if n > 1 else np.zeros(1)
    rng = _rng(design, "experiments", "")
    common = rng.permutation(n)
    # Channels of one experiment go together, more or less: exposure does that.
    mixed = [np.argsort(np.argsort(common + rng.normal(0, n / 6, n))) for _ in CHANNELS]
    return np.asarray(design.brightness_spread ** powers[np.stack(mixed, axis=1)])


def _experiment(design: ScreenDesign, number: int) -> list[Site]:
    name = design.experiments[number]
    rng = _rng(design, "layout", name)
    dataset = "test" if name in design.test_experiments else "train"
    found = []
    for plate in range(1, design.plates + 1):
        contents = _contents(design, (plate - 1 + number) % design.plates)
        for place, (sirna, kind) in zip(_wells(len(contents), rng), contents, strict=True):
            dead = rng.random() < design.dead and kind == "treatment"
            for site in range(1, design.sites + 1):
                trouble = "missing" if rng.random() < design.missing else "dead" if dead else ""
                found.append(Site(name, plate, place, site, sirna, kind, dataset, trouble))
    return found


def _contents(design: ScreenDesign, group: int) -> list[tuple[int, str]]:
    """What the wells of one group's plate hold."""
    treated = [(sirna, "treatment") for sirna in range(group, design.perturbations, design.plates)]
    positive = [(design.perturbations + k, "positive_control") for k in range(design.positives)]
    untreated = (design.perturbations + design.positives, "negative_control")
    return [*treated, *positive, *[untreated] * design.negatives]


def _wells(count: int, rng: np.random.Generator) -> list[str]:
    """So many wells in random order, of the smallest block of B02 to O23 that holds them."""
    columns = min(22, max(1, int(np.ceil(np.sqrt(count * 22 / 14)))))
    names = [f"{'BCDEFGHIJKLMNO'[k // columns]}{2 + k % columns:02d}" for k in range(-(-count // columns) * columns)]
    return [names[k] for k in rng.permutation(len(names))[:count]]


def _cells(design: ScreenDesign, site: Site, rng: np.random.Generator) -> StainedCells:
    radius, density, elongation = _CELL_TYPES[site.cell_type]
    effect, dead = effect_of(design, site.sirna_id), site.trouble == "dead"
    area = design.shape[0] * design.shape[1] / 64**2
    n = max(1, int(rng.poisson(density * area * effect.count * (0.2 if dead else 1.0))))
    # The well has cells of its own, too: its sites are more alike than those of replicate wells.
    well = _rng(design, "well", site.well_id)
    size = radius * effect.size * (0.6 if dead else 1.0) * np.exp(well.normal(0, 0.03))
    return StainedCells(
        rng.uniform((0, 0), design.shape, (n, 2)).astype(np.float32),
        (size * np.exp(rng.normal(0, 0.12, n))).astype(np.float32),
        rng.uniform(0, np.pi, n).astype(np.float32),
        float(np.maximum(elongation * effect.elongation, 1.0)),
        0.4 if dead else float(np.exp(well.normal(0, 0.06))),
    )


def _write_images(base: Path, site: Site, stack: NDArray[np.uint8]) -> None:
    plate = base / site.experiment / f"Plate{site.plate}"
    plate.mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(stack, 1):
        png.write(plate / f"{site.well}_s{site.site}_w{number}.png", plane)


def _official(root: Path, found: Sequence[Site]) -> Path:
    names = ["site_id", "well_id", "cell_type", "dataset", "experiment", "plate", "well", "site", "well_type", "sirna",
             "sirna_id"]  # fmt: skip
    return _write_table(root / "metadata.csv", names, (site for site in found if site.trouble != "missing"))


def _kaggle(folder: Path, found: Sequence[Site]) -> Path:
    folder.mkdir()
    wells = [site for site in found if site.site == 1]
    names = ["id_code", "experiment", "plate", "well"]
    for dataset in sorted({well.dataset for well in wells}):
        own = [well for well in wells if well.dataset == dataset]
        treated = [well for well in own if well.well_type == "treatment"]
        controls = [well for well in own if well.well_type != "treatment"]
        _write_table(folder / f"{dataset}.csv", [*names, *["sirna"] * (dataset == "train")], treated, kaggle=True)
        _write_table(folder / f"{dataset}_controls.csv", [*names, "sirna", "well_type"], controls, kaggle=True)
    return folder


def _write_table(path: Path, names: Sequence[str], rows: Iterable[Site], *, kaggle: bool = False) -> Path:
    # The word sirna is a reagent in one dialect and a number in the other; so it is in the originals.
    sources = {"id_code": "well_id"} | ({"sirna": "sirna_id"} if kaggle else {})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(row, sources.get(name, name)) for name in names] for row in rows)
    return path


def _field(design: ScreenDesign, site: Site) -> Field:
    told = {
        "site_id": site.site_id,
        "well_id": site.well_id,
        "cell_type": site.cell_type,
        "dataset": site.dataset,
        "experiment": site.experiment,
        "plate_number": str(site.plate),
        "well_type": site.well_type,
        "sirna": site.sirna,
        "sirna_id": str(site.sirna_id),
    }
    well = f"{site.well[0]}{int(site.well[1:])}"
    identity = FieldId(plate=f"{site.experiment}_{site.plate}", well=well, site=str(site.site))
    return Field(identity, CHANNELS, annotation=told, pixels=partial(pixels, design, site))


def _rng(design: ScreenDesign, what: str, name: str) -> np.random.Generator:
    return np.random.default_rng((design.seed, zlib.crc32(what.encode()), zlib.crc32(name.encode())))
