"""A trained classifier on a packed screen: a table with a row a site. No torch is needed.

Columns: what the pack's index tells of a site (``Metadata_Plate``, ``Metadata_Sirna_Id`` ...), whether training has
seen its plate or experiment (``Metadata_Seen``), mean grey levels (``PixelMean_DNA``), log probabilities of classes
(``LogProbability_17``), and the embedding (``screen_0`` ...), which alone has the role of features. A site that stands
in the pack without pixels (at fault, or blank) has a row without numbers, and its reason in ``Metadata_Left_Out``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from phenostream.datasets import loading
from phenostream.errors import ChannelMissingError, EmptyError, NotFoundError, RecipeError
from phenostream.inference import Package, find, load
from phenostream.profiles.tables import write_pieces
from phenostream.training.classification.sites import plate_moments, reasons, site_moments
from phenostream.training.classification.splits import chosen, texts
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from phenostream.datasets import Pack
    from phenostream.inference import Model
    from phenostream.training.classification.splits import Where

#: Families of the columns that are neither metadata nor features.
PROBABILITY: Final = "LogProbability"
BRIGHTNESS: Final = "PixelMean"
SEEN: Final = "Metadata_Seen"
LEFT_OUT: Final = "Metadata_Left_Out"
_ROWS = 4096
_BATCH = 32
# Names of the index that say where a site's bytes lie, and not what it is.
_NOT_TOLD = ("array", "slot", "shard", "offset", "length", "crc32c", "suspicion", "fault", "message", "files", "blank")


def embed_pack(
    package: Package | str | os.PathLike[str],
    pack: Pack,
    *,
    where: Where | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """The table of all sites in memory; see `write_embeddings`."""
    model, rows = _begun(package, pack, where, threads)
    return pa.concat_tables(list(_tables(model, pack, rows, progress)))


def write_embeddings(
    package: Package | str | os.PathLike[str],
    pack: Pack,
    path: Path | str,
    *,
    where: Where | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the table of all sites as Parquet, whole or not at all, a few thousand rows in memory at a time.

    Args:
        package: that the task `classify` has written; or its name or folder.
        pack: sites to look at, of the same channels.
        path: file to write.
        where: which sites: column of the index to value or values; all by default.
        threads: of ONNX Runtime.
        progress: hears (sites done, sites in all).

    Returns:
        The number of sites, those without pixels included.

    Raises:
        ChannelMissingError: the pack has not all channels of the package.
        RecipeError: the package is no classifier of sites.
        EmptyError, NotFoundError: no such sites, none with pixels, or a column that is not there.
        DamagedError: a site fails its checksum.
    """
    model, rows = _begun(package, pack, where, threads)
    tables = _tables(model, pack, rows, progress)
    first = next(tables)
    return write_pieces(_chained(first, tables), first.schema, Path(path), rows=_ROWS)


def _chained(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


def _begun(
    package: Package | str | os.PathLike[str], pack: Pack, where: Where | None, threads: int | None
) -> tuple[Model, NDArray[np.intp]]:
    told = package if isinstance(package, Package) else find(package)
    if told.settings.get("task") != "classify":
        raise RecipeError(f"{told.name} is no classifier of sites", remedy="give a package of the task `classify`")
    lost = [name for name in told.settings["channels"] if name not in pack.channels]
    if lost:
        raise ChannelMissingError(
            f"{told.name} needs {lost[0]!r}; {pack.base} has {', '.join(pack.channels)}",
            remedy="pack the screen with these channels, by these names",
        )
    condition = told.settings["condition"]
    if condition and condition not in pack.table.column_names:
        raise NotFoundError(f"{told.name} is told the {condition} of a site, and {pack.base} has no such column")
    rows = chosen(pack.table, where or {}, "where")
    if (reasons(pack.table.take(rows)) != "").all():
        raise EmptyError(f"none of the {len(rows):,} sites has pixels", remedy="`phenostream pack --audit` says why")
    return load(told, threads=threads), rows


def _tables(
    model: Model, pack: Pack, rows: NDArray[np.intp], progress: Callable[[int, int], None] | None
) -> Iterator[pa.Table]:
    places = [pack.channel(name) for name in model.package.settings["channels"]]
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        yield _table(model, pack, part, places)
        if progress:
            progress(min(start + _ROWS, len(rows)), len(rows))


def _table(model: Model, pack: Pack, rows: NDArray[np.intp], places: list[int]) -> pa.Table:
    index, settings = pack.table.take(rows), model.package.settings
    reason = reasons(index)
    good = reason == ""
    logs, embedding = _predicted(model, pack, rows[good], places)
    bright = site_moments(index, list(range(len(pack.channels))))[0].astype(np.float32)[good]
    columns, described = _metadata(index, reason, settings)
    for family, names, values, role in (
        (BRIGHTNESS, pack.channels, bright, "qc"),
        (PROBABILITY, settings["classes"], logs, "qc"),
        (settings["column"], range(embedding.shape[1]), embedding, "feature"),
    ):
        for place, name in enumerate(names):
            columns[f"{family}_{name}"] = _scattered(values[:, place], good)
            channel = str(name) if family == BRIGHTNESS else ""
            described.append(Column(f"{family}_{name}", role, family=family, channel=channel))  # type: ignore[arg-type]
    return with_columns(pa.table(columns), described)


def _predicted(
    model: Model, pack: Pack, rows: NDArray[np.intp], places: list[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log probabilities (rows, classes) and embeddings (rows, D)."""
    told = _told(pack, rows, places, model.package.settings)
    images = (
        np.concatenate([site[places].astype(np.float32), _planes(one, pack.shape[1:])])
        for site, one in zip(_pixels(pack, rows), told, strict=True)
    )
    found = list(model.predict_many(images, batch_size=_BATCH))
    widths = {one.id: len(one.channels) for one in model.package.description.outputs}
    return tuple(  # type: ignore[return-value]
        np.array([one[name] for one in found], np.float32).reshape(len(found), widths[name])
        for name in ("log_probability", "embedding")
    )


def _scattered(values: NDArray[np.float32], good: NDArray[np.bool_]) -> Any:
    """The values in the rows that are good; nothing in the others."""
    whole = np.zeros(len(good), np.float32)
    whole[good] = values
    return pa.array(whole, mask=~good)


def _metadata(
    index: pa.Table, reason: NDArray[np.str_], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Column]]:
    names = [name for name in index.column_names if not name.startswith("pixel_") and name not in _NOT_TOLD]
    columns: dict[str, Any] = {f"Metadata_{name.title()}": index[name] for name in names}
    columns[SEEN] = pa.array(_seen(index, settings).tolist(), pa.string())
    columns[LEFT_OUT] = pa.array([one or None for one in reason.tolist()], pa.string())
    return columns, [Column(name, "metadata") for name in columns]


def _seen(index: pa.Table, settings: Mapping[str, Any]) -> NDArray[np.str_]:
    """(rows,) ``plate``, ``experiment`` (another plate of one that was learnt from), ``validation`` or ``no``.

    ``validation`` is what the weights were chosen on, though not learnt from.
    """
    found = np.full(index.num_rows, "no", dtype="U10")
    seen, chosen_on = settings["seen"], settings.get("chosen_on", {})
    for name, values in chosen_on.items():
        found[np.isin(_named(index, name), values)] = "validation"
    for level in ("experiment", "plate"):
        if level in seen and level in index.column_names:
            found[np.isin(texts(index, level), seen[level])] = level
    return found


def _named(index: pa.Table, column: str) -> NDArray[np.str_]:
    return texts(index, column) if column in index.column_names else np.full(index.num_rows, "")


def _told(pack: Pack, rows: NDArray[np.intp], places: list[int], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """(rows, told) what comes with each image: its condition (all 0 for one not learnt), and its plate's moments."""
    condition, values = settings["condition"], np.array(settings["conditions"], dtype=np.str_)
    own = texts(pack.table, condition)[rows] if condition else np.full(len(rows), "")
    hot = (own[:, None] == values).astype(np.float32)
    moments = [plate_moments(pack.table, places)[rows]] if settings["normalise"] == "plate" else []
    return np.concatenate([hot, *moments], axis=1)


def _pixels(pack: Pack, rows: NDArray[np.intp]) -> Iterator[NDArray[Any]]:
    """(C, Y, X) of each site."""
    for batch in loading.batches(pack, batch_size=_BATCH, shuffle=False, sites=rows):
        yield from batch.pixels


def _planes(told: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.broadcast_to(told[:, None, None], (len(told), *shape))
