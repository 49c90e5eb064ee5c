"""Everything that a page and its figures say, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenostream.errors import NotFoundError, RecipeError
from phenostream.report import data, pictures, tiles
from phenostream.report.effects import Effects, effects
from phenostream.report.embedding import Embedding, embed
from phenostream.report.facts import Facts, gather
from phenostream.report.phenotypes import read as read_phenotypes
from phenostream.report.rows import Rows, RunRows, open_table
from phenostream.report.survey import Survey, survey

if TYPE_CHECKING:
    from pathlib import Path

    from phenostream.report.design import Settings
    from phenostream.report.phenotypes import Phenotypes


@dataclass(frozen=True, slots=True)
class Contents:
    """A run or table as the report sees it.

    Attributes:
        path: what was reported on.
        facts: the ledger's side; None for a table.
        rows: where the rows come from.
        survey: what one walk over them found.
        effects: None where there are no controls.
        embedding: None where too little can be used.
        pictures: of a run's fields; None for a table.
        tiles: pictures of single cells; None where there are none.
        wells: what the plate maps show.
        phenotypes: results of a classifier, where some were given.
    """

    path: Path
    facts: Facts | None
    rows: Rows
    survey: Survey
    effects: Effects | None
    embedding: Embedding | None
    pictures: pictures.Pictures | None
    tiles: tiles.Tiles | None
    wells: data.Wells
    phenotypes: Phenotypes | None

    @property
    def noun(self) -> str:
        """What a row is: a cell where rows have a number or id of their own, else just a row (a table of wells)."""
        known = {"ObjectNumber", self.survey.design.id} - {""}
        return "cells" if self.facts or known & set(self.rows.schema().names) else "rows"

    @property
    def name(self) -> str:
        """Of the run folder or the table's file."""
        return self.path.resolve().name


def look(path: Path, settings: Settings, phenotypes: Path | None = None) -> Contents:
    """Work out the contents of a report on the run folder or table at `path`.

    Raises:
        NotFoundError: neither a run folder nor a table, or a column that was asked for is not there.
        LedgerError: a ledger that is damaged or newer.
        DamagedError: a table or phenotype results that cannot be read.
        RecipeError: controls that no row has.
        MissingExtraError: UMAP was asked for and is not installed.
    """
    results = read_phenotypes(phenotypes) if phenotypes else None
    facts, rows = _open(path)
    found = survey(rows, settings)
    strong = effects(found)
    made = embed(found, settings.embedding, seed=settings.seed)
    shown = None
    if facts is not None:
        numbers = dict.fromkeys(found.shown.parts.tolist())
        shown = pictures.open_pictures(facts, [found.paths[number] for number in numbers if number in found.paths])
    sheet = tiles.tiles(found, shown) if shown else None
    words = (
        "Cells per well" if facts or {"ObjectNumber", found.design.id} & set(rows.schema().names) else "Rows per well"
    )
    return Contents(path, facts, rows, found, strong, made, shown, sheet, data.wells(found, facts, words), results)


def _open(path: Path) -> tuple[Facts | None, Rows]:
    """The ledger's side and the rows of a run folder, or the rows of a table."""
    if path.is_dir() and not (path / "ledger.db").is_file():
        try:
            return None, open_table(path)
        except (RecipeError, NotFoundError) as error:
            raise NotFoundError(
                f"{path} is not a run folder and holds no table that is known",
                remedy="give the folder of a run, or a table",
            ) from error
    if path.is_dir():
        facts = gather(path)
        return facts, RunRows(facts)
    return None, open_table(path)
