"""Pictures of packed screens for people: channels side by side, sheets of replicates, maps of plates.

Each function gives a matplotlib figure; ``figure.savefig("site.png")`` writes it, and a notebook shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import NotFoundError, RecipeError, WrongShapeError
from phenostream.images.render import to_8bit
from phenostream.images.stains import CELL_PAINTING, Stain, shown_of, stained
from phenostream.sources.wells import order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from phenostream.datasets.packs import Pack

_INCHES = 1.8


def channel_grid(
    site: NDArray[Any],
    channels: Sequence[str],
    *,
    stains: Mapping[str, Stain] | None = CELL_PAINTING,
    columns: int = 4,
    percentile: float = 99.8,
) -> Figure:
    """Every channel of a site in its colour, and all of them together.

    Args:
        site: (C, Y, X).
        channels: name of each channel.
        stains: their colours; channels without one, and all where None, are grey, and then there is no composite.
        columns: pictures a row.
        percentile: of each channel's pixels, that is shown at full brightness.

    Raises:
        WrongShapeError: not three axes, or not one name a channel.
    """
    if site.ndim != 3 or len(site) != len(channels):
        raise WrongShapeError(f"a site of shape {site.shape} and {len(channels)} names", remedy="give (C, Y, X)")
    colours = {name: (stains or {}).get(name, Stain((255, 255, 255))) for name in channels}
    shown = {name: _tinted(plane, colours[name], percentile) for name, plane in zip(channels, site, strict=True)}
    if stains and all(name in stains for name in channels):
        shown["all"] = _mixed([shown[name] for name in shown_of(channels, stains)])
    return _sheet([list(shown.items())[at : at + columns] for at in range(0, len(shown), columns)])


def composite(
    pack: Pack, i: int, *, stains: Mapping[str, Stain] = CELL_PAINTING, show: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Site `i` of a pack as a colour picture (Y, X, 3) with fixed colours; see `phenostream.images.stains.stained`."""
    return stained(pack[i], pack.channels, stains=stains, show=show)


def contact_sheet(
    pack: Pack,
    column: str,
    values: Sequence[Any] = (),
    *,
    per: int = 6,
    stains: Mapping[str, Stain] | None = None,
    seed: int = 0,
) -> Figure:
    """Sites of each value of a column, a row each: the replicates of a perturbation side by side.

    Args:
        pack: packed sites.
        column: of its table, such as ``sirna``.
        values: which of its values, in order; the first eight where empty.
        per: sites a row at most, chosen at random.
        stains: fixed colours for all; by default each site's channels are stretched, so that batches compare in shape.
        seed: another seed, other sites.

    Raises:
        RecipeError: no such column.
        NotFoundError: a value that no site has.
    """
    if column not in pack.table.column_names:
        raise RecipeError(f"no column {column!r}", remedy=f"there are {', '.join(pack.table.column_names)}")
    told = pack.table[column].to_pylist()
    wanted = list(values) or list(dict.fromkeys(value for value in sorted({*told} - {None}, key=str)))[:8]
    rng, rows = np.random.default_rng(seed), []
    for value in wanted:
        own = [index for index, one in enumerate(told) if one == value]
        if not own:
            raise NotFoundError(f"no site has {column} {value!r}", remedy="name values that the table has")
        chosen = sorted(rng.permutation(own)[:per].tolist())
        names = [str(name) for name in pack.table["site_id"].take(chosen).to_pylist()]
        pictures = [_picture(pack, index, stains) for index in chosen]
        titles = [f"{value}\n{name}" if not at else name for at, name in enumerate(names)]
        rows.append(list(zip(titles, pictures, strict=True)))
    return _sheet(rows)


def plate_map(pack: Pack, plate: str, column: str, *, channel: str = "") -> Figure:
    """A number of each well of a plate, as a map: the mean over its sites.

    Args:
        pack: packed sites.
        plate: name of the plate.
        column: of numbers, or of a number a channel (``pixel_mean``).
        channel: which of these.

    Raises:
        NotFoundError: no such plate.
        RecipeError: no such column, or none of numbers.
        ChannelMissingError: no such channel.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  (heavy)

    grid, rows, columns = _wells(pack, plate, column, channel)
    figure = Figure(figsize=(1.5 + 0.4 * len(columns), 1.0 + 0.4 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(np.ma.masked_invalid(grid), cmap="viridis")
    axes.set_xticks(range(len(columns)), [str(one) for one in columns])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title(f"{plate}: {column} {channel}".rstrip())
    figure.colorbar(drawn, ax=axes)
    return figure


def _wells(pack: Pack, plate: str, column: str, channel: str) -> tuple[NDArray[np.float64], list[str], list[int]]:
    """Means (rows, columns) of the wells, NaN where there is none, and the names of rows and columns."""
    if column not in pack.table.column_names:
        raise RecipeError(f"no column {column!r}", remedy=f"there are {', '.join(pack.table.column_names)}")
    place = pack.channel(channel) if channel else 0
    found: dict[str, list[float]] = {}
    names = (pack.table[name].to_pylist() for name in ("plate", "well", column))
    for one, well, value in zip(*names, strict=True):
        if one == plate and value is not None:
            found.setdefault(str(well), []).append(_number(value[place] if isinstance(value, list) else value, column))
    if not found:
        raise NotFoundError(f"no plate {plate!r} with {column}", remedy="name a plate of the pack")
    wells = sorted(found, key=order)
    rows = list(dict.fromkeys(well.rstrip("0123456789") for well in wells))
    columns = sorted({int(well[len(well.rstrip("0123456789")) :]) for well in wells})
    grid = np.full((len(rows), len(columns)), np.nan)
    for well in wells:
        row = well.rstrip("0123456789")
        grid[rows.index(row), columns.index(int(well[len(row) :]))] = np.mean(found[well])
    return grid, rows, columns


def _number(value: Any, column: str) -> float:
    if not isinstance(value, (int, float)):
        raise RecipeError(f"column {column!r} is not of numbers", remedy="name one that is, such as pixel_mean")
    return float(value)


def _picture(pack: Pack, index: int, stains: Mapping[str, Stain] | None) -> NDArray[np.uint8]:
    site = pack[index]
    if stains is not None:
        return stained(site, pack.channels, stains=stains)
    known = {name: CELL_PAINTING.get(name, Stain((255, 255, 255))) for name in pack.channels}
    mixed = shown_of(pack.channels, known)
    planes = zip(pack.channels, site, strict=True)
    return _mixed([_tinted(plane, known[name], 99.8) for name, plane in planes if name in mixed])


def _mixed(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures (Y, X, 3) added, dimmed as far as needed: stretched channels together would be white otherwise."""
    light = np.sum(pictures, axis=0, dtype=np.float64)
    top = max(255.0, float(np.percentile(light, 99.8)))
    return np.clip(np.rint(light * (255 / top)), 0, 255).astype(np.uint8)


def _tinted(plane: NDArray[Any], stain: Stain, percentile: float) -> NDArray[np.uint8]:
    grey = to_8bit(plane, percentiles=(1.0, percentile))
    return np.asarray(grey[..., None] * (np.array(stain.colour) / 255), np.uint8)


def _sheet(rows: Sequence[Sequence[tuple[str, NDArray[np.uint8]]]]) -> Figure:
    """Pictures in a grid under their titles."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (heavy)

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(_INCHES * columns, (_INCHES + 0.3) * len(rows)), layout="constrained")
    places = figure.subplots(len(rows), columns, squeeze=False)
    for axes in places.flat:
        axes.set_axis_off()
    for axes_row, row in zip(places, rows, strict=True):
        for axes, (title, picture) in zip(axes_row, row, strict=False):
            axes.imshow(picture, interpolation="nearest")
            axes.set_title(title, fontsize=7)
    return figure
