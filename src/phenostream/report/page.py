"""The page: facts, figures and pictures put into the template, written whole."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from phenostream import __version__
from phenostream.profiles import replacing
from phenostream.report import bundle, colours, data, headline, scores, screen, words
from phenostream.report.contents import Contents, look
from phenostream.report.design import Settings
from phenostream.report.distributions import distributions
from phenostream.report.facts import STATES, Facts, moment
from phenostream.report.illumination import shadings
from phenostream.report.montage import montage
from phenostream.report.pictures import tints
from phenostream.report.plates import lines, number, plates
from phenostream.values import columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BYTES = 8_000_000
_FIELDS = (24, 12, 6, 0)
_PARTS = 500
_RECIPE_CHARACTERS = 60_000
_STATE_WORDS = {
    "done": "measured",
    "rejected": "rejected: the input itself is at fault",
    "failed": "failed: a retry may help",
    "waiting": "waiting: not tried yet",
}


def write(
    path: str | Path,
    out: str | Path | None = None,
    *,
    settings: Settings | None = None,
    phenotypes: str | Path | None = None,
    figures: str | Path | None = None,
) -> Path:
    """Write the report of a run, a profile table or a packed screen: one HTML file that needs nothing, no network.

    The same input gives the same bytes. The file stays below 8 MB: what is drawn is sampled, and the page says how.

    Args:
        path: the folder of a run, also one still going on; a table (:func:`phenostream.report.rows.open_table`); or
            a pack (:mod:`phenostream.report.screen`).
        out: where to write; ``report.html`` in the run folder, or beside table or pack under its name, when None.
        settings: controls, groups, map of cells; found by themselves when None.
        phenotypes: results of a classifier (:mod:`phenostream.report.phenotypes`).
        figures: a folder for the figures as PNG and SVG and the tables as CSV; not written when None.

    Returns:
        The path written.

    Raises:
        NotFoundError: neither a run folder nor a table, no such column, or no folder to write to.
        LedgerError: the ledger is damaged, or written by a newer version.
        DamagedError: the table or the phenotype results cannot be read.
        RecipeError: controls that no row has.
        MissingExtraError: UMAP was asked for and is not installed.
        DiskFullError: no room; an earlier report stays as it was.
    """
    source = Path(path)
    target = Path(out) if out is not None else _default(source)
    if screen.is_pack(source):
        return screen.write(source, target, settings=settings or Settings())
    contents = look(source, settings or Settings(), Path(phenotypes) if phenotypes else None)
    page = render(contents)
    with replacing(target) as temporary:
        temporary.write_bytes(page)
    if figures is not None:
        from phenostream.report.figures import draw  # noqa: PLC0415  (heavy: only those who ask pay for it)

        draw(contents, Path(figures))
    return target


def render(contents: Contents) -> bytes:
    """The page as UTF-8 bytes; fewer fields are shown where 24 would make it too large."""
    # Pictures first: what they cannot read must be known to the page that reports it.
    facts = contents.facts
    told = {
        **_of_rows(contents),
        "shadings": shadings(facts) if facts else [],
        "plates": plates(facts) if facts else [],
        "plate_lines": lines(facts) if facts else [],
    }
    page = b""
    for count in _FIELDS if contents.pictures else (0,):
        page = _page(contents, {**told, "fields": montage(contents.pictures, count) if contents.pictures else []})
        if len(page) <= MAX_BYTES:
            break
    return page


def _default(source: Path) -> Path:
    if (source / "ledger.db").is_file():
        return source / "report.html"
    return source.with_name(f"{source.resolve().name.removesuffix('.gz').rsplit('.', 1)[0]}.report.html")


def _of_rows(contents: Contents) -> dict[str, Any]:
    found = contents.survey
    schema = contents.rows.schema()
    known = {column.name: int(found.known[place]) for place, column in enumerate(found.columns)}
    described = columns_of(schema)
    return {
        "survey": found,
        "distributions": distributions(found),
        "effects": contents.effects,
        "embedding": contents.embedding if bundle.has_library() else None,
        "sheet": contents.tiles,
        "cells": bool(contents.tiles or (contents.embedding and bundle.has_library())),
        "cells_shown": len(found.shown.rows),
        "parts_shown": _parts_shown(contents),
        "columns": [(column, known.get(column.name)) for column in described],
        "roles": {role: sum(one.role == role for one in described) for role in ("metadata", "feature", "qc")},
        "by_names": (schema.metadata or {}).get(b"phenostream.roles") == b"names",
        "wells_left": {"plates": contents.wells.plates_left, "columns": contents.wells.columns_left},
        **_phenotypes(contents),
    }


def _parts_shown(contents: Contents) -> int:
    """Fields that the shown cells were drawn from, 0 where that is all of them."""
    drawn = len(set(contents.survey.shown.parts.tolist()))
    return drawn if contents.rows.parts > drawn and len(contents.survey.paths) > drawn else 0


def _phenotypes(contents: Contents) -> dict[str, Any]:
    results = contents.phenotypes
    if results is None:
        return {"phenotypes": None, "curves": []}
    header, rows = scores.by_class(results)
    return {
        "phenotypes": results, "scores": scores.scores(results), "class_header": header, "class_rows": rows,
        "confusions": scores.confusions(results), "ranks": scores.ranks(results),
        "curves": scores.curves(results) if bundle.has_library() else [],
    }  # fmt: skip


def _page(contents: Contents, told: Mapping[str, Any]) -> bytes:
    facts, scripts = contents.facts, bundle.scripts()
    channels = _channels(contents)
    text = _environment().get_template("report.html").render(
        facts=facts,
        title=headline.title(facts) if facts else contents.name,
        tiles=headline.of_run(facts) if facts else headline.of_table(contents.survey),
        states=[(state, facts.states[state], _STATE_WORDS[state]) for state in STATES] if facts else [],
        stages=headline.stages(facts) if facts else [],
        disk=headline.disk(facts) if facts else None,
        recipe=_recipe(facts.record.get("recipe")) if facts else "",
        provenance=_provenance(contents),
        parts=facts.fields[:_PARTS] and _parts(facts) if facts else [],
        parts_of=len(facts.fields) if facts else 0,
        channels=channels,
        matrix=_matrix([channel["colour"] for channel in channels]),
        picture_words=contents.pictures.words if contents.pictures else "",
        gradient=colours.gradient(),
        style=_text("report.css"),
        noun=contents.noun,
        version=__version__,
        library=bundle.has_library(),
        scripts=scripts,
        policy=bundle.policy(scripts),
        data=bundle.as_json(_data(contents, channels, told["curves"])),
        quality_of=len(facts.fields[:: max(1, -(-len(facts.fields) // 4_000))]) if facts else 0,
        **told,
    )  # fmt: skip
    # A plate name may hold what UTF-8 cannot: a page about the other plates is still owed.
    return text.encode("utf-8", errors="replace")


def _data(contents: Contents, channels: Sequence[Mapping[str, str]], curves: Sequence[Any]) -> dict[str, Any]:
    """What the scripts read."""
    found, sheet = contents.survey, contents.tiles
    told: dict[str, Any] = {
        "noun": contents.noun, "ramp": colours.ramp(), "gradient": colours.gradient(), "channels": channels,
        "wells": contents.wells.told if contents.wells.keys else None, "first": _first(contents),
        "colour": found.design.group, "curves": curves or None,
        "tiles": {"side": 48, "across": 50, "lines": bool(sheet.lines), "pixels": sheet.pixels} if sheet else None,
        "fields": data.fields(contents.facts) if contents.facts and contents.facts.fields else None,
    }  # fmt: skip
    if found.rows:
        told["cells"] = data.cells(found, contents.embedding, sheet, contents.effects)
    return told


def _first(contents: Contents) -> int:
    """The column that is mapped first: that of the largest effect, else the count, of a table the first feature."""
    if contents.effects and contents.effects.groups and contents.effects.groups[0].effects:
        name = contents.effects.groups[0].effects[0].column.name
        if name in contents.wells.names:
            return list(contents.wells.names).index(name)
    features = [one.name for one in contents.survey.columns if one.role == "feature" and not one.positional]
    shown = [] if contents.facts else [name for name in features[:20] if name in contents.wells.names]
    return list(contents.wells.names).index(shown[0]) if shown else 0


def _channels(contents: Contents) -> list[dict[str, str]]:
    names = contents.pictures.channels if contents.pictures else ()
    return [{"name": name, "colour": colour} for name, colour in zip(names, tints(len(names)), strict=True)]


def _matrix(tints_: Sequence[str]) -> str:
    """The colour matrix that gives each channel its colour: rows are red, green, blue and opacity of the result."""
    tint = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in tints_]
    rows = [[f"{tint[at][part]:.3g}" if at < len(tint) else "0" for at in range(3)] + ["0", "0"] for part in range(3)]
    return " ".join([*(" ".join(row) for row in rows), "0 0 0 1 0"])


def _parts(facts: Facts) -> list[dict[str, Any]]:
    return [
        {"plate": one.plate, "well": one.well, "site": one.site, "rows": one.rows,
         "path": one.part.relative_to(facts.folder).as_posix()}
        for one in facts.fields[:_PARTS]
    ]  # fmt: skip


def _provenance(contents: Contents) -> list[tuple[str, list[str]]]:
    """What this page was made from, name by name."""
    facts = contents.facts
    if facts is None:
        return [(name, [value]) for name, value in contents.rows.source.items()] + [("phenostream", [__version__])]
    record = facts.record
    told: list[tuple[str, list[str]]] = [("Run folder", [facts.folder.resolve().name])]
    if facts.finished[0]:
        told.append(("Fields finished", [f"{moment(facts.finished[0])} to {moment(facts.finished[1])}"]))
    for name, key in (
        ("phenostream", "phenostream"),
        ("Source", "source"),
        ("Recipe hash", "recipe_hash"),
        ("Seed", "seed"),
    ):
        value = record.get(key, facts.meta.get(key))
        if value not in (None, ""):
            told.append((name, [str(value)]))
    if record.get("python"):
        told.append(("Python", [f"{record['python']} on {record.get('platform', 'an unknown platform')}"]))
    for name, key in (
        ("Code versions of the steps", "steps"),
        ("Libraries", "libraries"),
        ("Input tables (sha256)", "inputs"),
    ):
        pairs = record.get(key)
        if isinstance(pairs, dict) and pairs:
            told.append((name, [f"{one} {pairs[one]}" for one in sorted(pairs, key=str)][:50]))
    return told  # fmt: skip


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_text),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": words.count, "size": words.size, "number": number, "moment": moment, "duration": words.duration,
        "breakable": words.breakable,
    }  # fmt: skip
    return environment


def _text(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _recipe(recipe: Any) -> str:
    if not recipe:
        return ""
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100)
    if len(text) > _RECIPE_CHARACTERS:
        return text[:_RECIPE_CHARACTERS] + f"{os.linesep}... the rest is in run.json"
    return text
