"""The page of a packed screen: what is in it and what is not, its channels, its replicates, its plates."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from phenostream import __version__
from phenostream.datasets import open_pack, views
from phenostream.errors import EmptyError, NotFoundError
from phenostream.images.stains import CELL_PAINTING
from phenostream.profiles import replacing
from phenostream.report import words
from phenostream.report.headline import Tile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from phenostream.datasets import Pack
    from phenostream.report.design import Settings

# Where the name of a perturbation stands, in this order, unless it is said.
_GROUPS = ("sirna", "perturbation", "treatment", "gene", "compound", "sirna_id", "well_type")
_VALUES, _REPLICATES = 24, 6
_MAPS = 96
_FINDINGS = 200


def is_pack(path: Path) -> bool:
    """Whether a finished pack lies there."""
    return (path / "pack.json").is_file()


def write(folder: Path, out: Path, *, settings: Settings) -> Path:
    """Write the page of a packed screen: one HTML file without scripts that needs no network.

    Args:
        folder: of the pack.
        out: where to write.
        settings: `group` names the column of the perturbations; found by itself where empty.

    Raises:
        NotFoundError: no pack, or no such column.
        DamagedError: the pack is not what it was.
        EmptyError: no site is sound.
        DiskFullError: no room.
    """
    pack = open_pack(folder)
    found = _findings(folder, pack)
    page = _environment().get_template("screen.html").render(
        title=folder.resolve().name, version=__version__, style=_text("report.css"), pack=pack, tiles=_tiles(pack),
        all_findings=len(found), reasons=Counter(one["reason"] for one in found).most_common(),
        findings=found[:_FINDINGS],
        statistics=_statistics(folder), **_pictures(pack, settings), provenance=_provenance(pack),
    )  # fmt: skip
    with replacing(out) as temporary:
        temporary.write_bytes(page.encode("utf-8", errors="replace"))
    return out


def _tiles(pack: Pack) -> list[Tile]:
    c, y, x = pack.shape
    plates = pc.count_distinct(pack.table["plate"]).as_py()
    wells = len({*zip(pack.table["plate"].to_pylist(), pack.table["well"].to_pylist(), strict=True)})
    stored = pack.description.bytes
    return [
        Tile(words.count(len(pack)), "sites", "index.parquet"),
        Tile(f"{plates:,} / {wells:,}", "plates / wells", "index.parquet"),
        Tile(f"{c} x {y} x {x}", f"channels and pixels, {pack.dtype}", "pack.json"),
        Tile(words.size(stored), f"stored, {len(pack) * pack.coding.nbytes / max(stored, 1):.1f} to one", "pack.json"),
    ]


def _findings(folder: Path, pack: Pack) -> list[dict[str, str]]:
    """What was left out or stands as zeros, then what is packed and looks suspicious; a row a site."""
    names = ("plate", "well", "site")
    faulty = pq.read_table(folder / "findings.parquet").to_pylist()
    told = [
        {**{name: one[name] for name in names}, "reason": one["fault"], "message": one["message"]} for one in faulty
    ]
    odd = pack.table.filter(pack.table["suspicion"].is_valid()).select([*names, "suspicion"]).to_pylist()
    return told + [{**one, "reason": one.pop("suspicion"), "message": "packed; its pixels say so"} for one in odd]


def _statistics(folder: Path) -> list[dict[str, Any]]:
    """A row an experiment (a plate, where there are none) and channel."""
    table = pq.read_table(folder / "statistics.parquet")
    levels = table["level"].to_pylist()
    level = "experiment" if "experiment" in levels else "plate"
    return [row for row in table.to_pylist() if row["level"] == level]


def _pictures(pack: Pack, settings: Settings) -> dict[str, Any]:
    whole = np.flatnonzero([not one for one in pc.coalesce(pack.table["fault"], pack.table["suspicion"]).to_pylist()])
    if not len(whole):
        raise EmptyError(f"no site of {pack.base} is sound", remedy="see findings.parquet")
    first = int(whole[0])
    group = _group(pack, settings.group)
    values = sorted({*pack.table[group].to_pylist()} - {None}, key=_order) if group else []
    known = all(name in CELL_PAINTING for name in pack.channels)
    sheet = (
        _jpeg(views.contact_sheet(pack, group, values[:_VALUES], per=_REPLICATES, seed=settings.seed)) if values else ""
    )
    return {
        "example": pack.table["site_id"][first].as_py(),
        "channels": _png(views.channel_grid(pack[first], pack.channels)),
        "composite": _picture(views.composite(pack, first)) if known else "",
        "group": group, "sheet": sheet, "values": len(values), "shown": min(len(values), _VALUES),
        "replicates": _REPLICATES, "maps": list(_maps(pack)),
        "plates": int(pc.count_distinct(pack.table["plate"]).as_py()),
    }  # fmt: skip


def _group(pack: Pack, asked: str) -> str:
    names = pack.table.column_names
    if asked and asked.removeprefix("Metadata_") not in names:
        raise NotFoundError(f"no column {asked!r} in {pack.base}", remedy=f"there are {', '.join(names[:30])}")
    wanted = (asked.removeprefix("Metadata_"),) if asked else _GROUPS
    return next((name for name in wanted if name in names and pack.table[name].null_count < len(pack)), "")


def _maps(pack: Pack) -> Iterator[tuple[str, list[str]]]:
    """Each plate with a map of the mean grey level of every channel, as many plates as fit the page."""
    names = list(dict.fromkeys(map(str, pack.table["plate"].to_pylist())))
    for plate in names[: max(1, _MAPS // len(pack.channels))]:
        yield plate, [_png(views.plate_map(pack, plate, "pixel_mean", channel=name)) for name in pack.channels]


def _provenance(pack: Pack) -> Mapping[str, str]:
    told = pack.description
    return {
        "Licence of the images": told.licence or "not told",
        "Channels": ", ".join(told.channels),
        "Settings": json.dumps(told.settings, sort_keys=True),
        "phenostream": __version__,
        **{f"sha256 of {name}": digest for name, digest in sorted(told.tables.items())},
    }


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, float(value) if number else 0.0, str(value))


def _png(figure: Figure) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=72, metadata={"Software": None})
    return _data("png", out.getvalue())


def _jpeg(figure: Figure) -> str:
    """Many small photographs: a tenth of the bytes, and for the eye alone."""
    out = io.BytesIO()
    figure.savefig(out, format="jpeg", dpi=72, pil_kwargs={"quality": 88})
    return _data("jpeg", out.getvalue())


def _picture(pixels: Any) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return _data("png", out.getvalue())


def _data(kind: str, payload: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(payload).decode()}"


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(_text), trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["count"] = words.count
    return made


def _text(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")
