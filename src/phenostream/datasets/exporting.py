"""Exports: what every exporter shares. A stop at any moment leaves whole files, and the next run does the rest."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from phenostream import disk
from phenostream.datasets._files import locked, named_disk, write_bytes
from phenostream.datasets._pool import ahead
from phenostream.datasets.exporters import Kind, Output
from phenostream.datasets.parts import parquet_bytes
from phenostream.datasets.tables import STORAGE
from phenostream.errors import DamagedError, LedgerError, NotFoundError, PhenostreamError, RecipeError
from phenostream.sources.names import checked
from phenostream.values import recipes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phenostream.datasets._pool import Executor
    from phenostream.datasets.exporters import Example
    from phenostream.datasets.packs import Pack

GROUP = "phenostream.dataset_exporters"
_PLUGS = Plugs("phenostream.datasets.exporters", GROUP, "exporter")
_DOCUMENT, _INDEX = "export.json", "index.parquet"


@dataclass(frozen=True, slots=True)
class Exported:
    """How an export ended.

    Attributes:
        folder: of the export.
        files: written, relative to it.
        sites: in them.
        left_out: sites of the pack that the settings leave out.
        written: files written now; the others were there.
        bytes: of all files.
    """

    folder: Path
    files: tuple[str, ...]
    sites: int
    left_out: int
    written: int
    bytes: int


def export_formats() -> tuple[str, ...]:
    """Names of the formats, sorted."""
    return _PLUGS.names()


def parse_settings(settings: BaseModel | Mapping[str, Any]) -> BaseModel:
    """Settings of the exporter that the key ``format`` names.

    Raises RecipeError: no or unknown format (the known ones are listed), unknown key, wrong value.
    """
    if isinstance(settings, BaseModel):
        return settings
    model: type[BaseModel] = _PLUGS.load(str(settings.get("format", ""))).Settings
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        told = recipes.faults(error)
        raise RecipeError(f"export: {told}", remedy=f"its keys are: {', '.join(model.model_fields)}") from error


def export(
    pack: Pack,
    folder: Path | str,
    settings: BaseModel | Mapping[str, Any],
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the sites of `pack` in another format. Run it again after any stop, and it writes what is left.

    Args:
        pack: packed sites.
        folder: absent, empty, or one that this has begun.
        settings: of an exporter, or what they would be in a recipe: ``{"format": "tfrecord", "seed": 1}``.
        workers: threads.
        executor: where to compute instead, see `phenostream.datasets.pack`.
        progress: hears (files done, files in all).

    Raises:
        RecipeError: settings that do not fit the pack.
        LedgerError: another export, or something else, in the folder.
        BusyError, DiskFullError: the folder cannot be had or written.
        DamagedError: a site of the pack is not what was packed.
    """
    root, chosen = Path(folder), parse_settings(settings)
    name = str(getattr(chosen, "format", ""))
    outputs: list[Output] = _PLUGS.load(name).plan(pack, chosen)
    with locked(root):
        _claim(root, pack, chosen)
        waiting = [one for one in outputs if not (root / one.path).exists()]
        done = len(outputs) - len(waiting)
        call = partial(_write, str(root), pack, chosen)
        for count, _ in enumerate(ahead(call, waiting, workers=workers, executor=executor), done + 1):
            if progress:
                progress(count, len(outputs))
        return _finish(root, pack, name, outputs, len(waiting))


def read_export(folder: Path | str) -> Iterator[tuple[dict[str, Any], Example]]:
    """Every site of an export, with its row of the index, file by file in the order written.

    Raises:
        NotFoundError: no finished export there.
        DamagedError: a file is not what was written.
    """
    root = Path(folder)
    told = _described(root)
    kind = Kind(tuple(told["shape"]), told["dtype"], tuple(told["channels"]))
    read = _PLUGS.load(told["format"]).read
    rows: dict[str, list[dict[str, Any]]] = {path: [] for path, _, _ in told["files"]}
    for row in pq.read_table(root / _INDEX).to_pylist():
        rows[row["file"]].append(row)
    for path, own in rows.items():
        count = 0
        for count, example in enumerate(read(root / path, kind), 1):
            if count <= len(own):
                yield own[count - 1], example
        if count != len(own):
            raise DamagedError(f"{path} holds {count} of {len(own)} sites", remedy="write the export again")


def verify_export(folder: Path | str) -> list[str]:
    """Names of the files of an export that are absent or other than they were written; empty when all is well.

    Raises NotFoundError where no finished export is there.
    """
    root = Path(folder)
    told = _described(root)
    return [
        path for path, size, crc in told["files"] if not (root / path).exists() or _checksum(root / path) != (size, crc)
    ]


def _claim(root: Path, pack: Pack, settings: BaseModel) -> None:
    """Make the folder this export's. Raises LedgerError where it is another's."""
    plan = {"settings": settings.model_dump(mode="json"), "pack": pack.description.tables.get("index.parquet", "")}
    payload = _json(plan)
    path = root / "plan.json"
    if path.is_file() and path.read_bytes() != payload:
        raise LedgerError(
            f"{root} holds an export of another pack, or of other settings", remedy="choose another folder"
        )
    if not path.is_file() and any(entry.name != "lock" for entry in root.iterdir()):
        raise LedgerError(f"{root} is not empty and no export", remedy="choose another folder")
    write_bytes(path, payload)
    for stray in root.rglob(f"*{disk.PART}"):
        shutil.rmtree(stray) if stray.is_dir() else stray.unlink()


def _write(root: str, pack: Pack, settings: BaseModel, output: Output) -> None:
    """Write one output under a temporary name, and move it when it is whole and durable; runs in any process."""
    path = Path(root) / output.path
    temporary = path.with_name(path.name + disk.PART)
    with named_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.taking_place(temporary, path):
            _PLUGS.load(str(getattr(settings, "format", ""))).write(temporary, pack, output, settings)
            disk.sync_tree(temporary)


def _finish(root: Path, pack: Pack, name: str, outputs: Sequence[Output], new: int) -> Exported:
    files = [(one.path, *_checksum(root / one.path)) for one in outputs]
    write_bytes(root / _INDEX, parquet_bytes(_index(pack, outputs)))
    told = {
        "format": name, "shape": pack.shape, "dtype": pack.coding.dtype, "channels": pack.channels,
        "licence": pack.description.licence, "files": files,
    }  # fmt: skip
    write_bytes(root / _DOCUMENT, _json(told))
    sites = sum(len(one.indices) for one in outputs)
    names = tuple(path for path, _, _ in files)
    return Exported(root, names, sites, len(pack) - sites, new, sum(size for _, size, _ in files))


def _index(pack: Pack, outputs: Sequence[Output]) -> pa.Table:
    """The pack's rows in the order written, with file, place in it, and key in place of where they lie in the pack."""
    order = [index for one in outputs for index in one.indices]
    told = pack.table.drop_columns([name for name in STORAGE if name in pack.table.column_names])
    table = told.take(pa.array(order, pa.int64()))
    files = [one.path for one in outputs for _ in one.indices]
    places = [place for one in outputs for place in range(len(one.indices))]
    keys = [key for one in outputs for key in (one.keys or [None] * len(one.indices))]
    table = table.append_column("file", pa.array(files, pa.string()))
    table = table.append_column("place", pa.array(places, pa.int64()))
    return table.append_column("key", pa.array(keys, pa.string()))


def _described(root: Path) -> dict[str, Any]:
    path = root / _DOCUMENT
    if not path.is_file():
        raise NotFoundError(f"there is no finished export at {root}", remedy="run the same export again")
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
        for name, _, _ in told["files"]:
            checked(name)
    except PhenostreamError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is damaged: {error}", remedy="run the same export again") from error
    return told


def _checksum(path: Path) -> tuple[int, int]:
    """Bytes and CRC-32C of a file, or of all files of a folder in the order of their names."""
    crc, size = 0, 0
    for one in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        with one.open("rb") as file:
            while chunk := file.read(1 << 20):
                crc, size = google_crc32c.extend(crc, chunk), size + len(chunk)
    return size, int(crc)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
