"""Exports: what every exporter shares. A stop at any moment leaves whole files, and the next run does the rest.

The checksum of each file is taken when it is written, before it has its name, and kept below ``sums``: what changes
afterwards is noticed by the next run, which writes it anew, by reading and by verifying.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from phenostream import disk
from phenostream.datasets._files import checksum, local, locked, named_disk, write_bytes
from phenostream.datasets._pool import ahead
from phenostream.datasets.documents import digest, plain, seal, unseal
from phenostream.datasets.exporters import Kind, Output
from phenostream.datasets.parts import parquet_bytes
from phenostream.datasets.tables import STORAGE
from phenostream.errors import DamagedError, LedgerError, NotFoundError, RecipeError
from phenostream.sources.names import checked
from phenostream.values import recipes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from phenostream.datasets._pool import Executor
    from phenostream.datasets.exporters import Example
    from phenostream.datasets.packs import Pack

GROUP = "phenostream.dataset_exporters"
_PLUGS = Plugs("phenostream.datasets.exporters", GROUP, "exporter")
_DOCUMENT, _INDEX, _PLAN, _SUMS = "export.json", "index.parquet", "plan.json", "sums"
_AGAIN = "run the same export again: what is whole is kept, what is damaged is written anew"


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

    Files that are there are compared with their checksums, and damaged ones are written anew.

    Args:
        pack: packed sites.
        folder: absent, empty, or one that this has begun.
        settings: of an exporter, or what they would be in a recipe: ``{"format": "tfrecord", "seed": 1}``.
        workers: threads.
        executor: where to compute instead, see `phenostream.datasets.pack`.
        progress: hears (files done, files in all).

    Raises:
        RecipeError: settings that do not fit the pack; a URL as `folder`.
        LedgerError: another export, or something else, in the folder.
        BusyError, DiskFullError: the folder cannot be had or written.
        DamagedError: a site of the pack is not what was packed; the plan of the export is damaged.
    """
    root, chosen = local(folder), parse_settings(settings)
    outputs: list[Output] = _PLUGS.load(str(getattr(chosen, "format", ""))).plan(pack, chosen)
    with locked(root):
        plan = _claim(root, pack, chosen)
        keys = {one.path: _key(plan, one) for one in outputs}
        seen = ahead(partial(_seen, root), keys.items(), workers=workers, executor=executor)
        whole = {path for path, is_whole in seen if is_whole}
        waiting = [one for one in outputs if one.path not in whole]
        call = partial(_write, root, pack, chosen, keys)
        for count, _ in enumerate(ahead(call, waiting, workers=workers, executor=executor), len(whole) + 1):
            if progress:
                progress(count, len(outputs))
        return _finish(root, pack, chosen, outputs, len(waiting))


def read_export(folder: Path | str) -> Iterator[tuple[dict[str, Any], Example]]:
    """Every site of an export, with its row of the index, file by file in the order written.

    Each file is compared with its checksum before the first of its sites comes.

    Raises:
        NotFoundError: no finished export there, or one of its files is gone.
        DamagedError: a file is not what was written.
    """
    root = local(folder)
    told = _described(root)
    kind = Kind(tuple(told["shape"]), told["dtype"], tuple(told["channels"]))
    read = _PLUGS.load(told["format"]).read
    rows: dict[str, list[dict[str, Any]]] = {path: [] for path, _, _ in told["files"]}
    index = _checked(root, _INDEX, *told["index"]).read_bytes()
    for row in pq.read_table(pa.BufferReader(index)).to_pylist():
        rows[row["file"]].append(row)
    for path, size, crc in told["files"]:
        own, count = rows[path], 0
        _checked(root, path, size, crc)
        for count, example in enumerate(read(root / path, kind), 1):
            if count <= len(own):
                yield own[count - 1], example
        if count != len(own):
            raise DamagedError(f"{path} holds {count} of {len(own)} sites", remedy=_AGAIN)


def verify_export(folder: Path | str) -> list[str]:
    """Names of the files of an export that are absent or other than they were written; empty when all is well.

    Raises NotFoundError where no finished export is there, DamagedError where its description is not what was written.
    """
    root = local(folder)
    told = _described(root)
    files = [(_INDEX, *told["index"]), *told["files"]]
    return [path for path, size, crc in files if not (root / path).exists() or checksum(root / path) != (size, crc)]


def _claim(root: Path, pack: Pack, settings: BaseModel) -> bytes:
    """Make the folder this export's, and give its plan.

    Raises LedgerError where it is another's, DamagedError where no one can say whose it is.
    """
    plan = seal({"settings": settings.model_dump(mode="json"), "pack": pack.description.tables.get(_INDEX, "")})
    path = root / _PLAN
    if path.is_file():
        again = f"delete {path} and run the same export again: files that are whole are kept"
        unseal(path.read_bytes(), f"{_PLAN} of {root}", remedy=again)
        if path.read_bytes() != plan:
            raise LedgerError(
                f"{root} holds an export of another pack, or of other settings", remedy="choose another folder"
            )
    elif not (root / _SUMS).is_dir() and any(entry.name != "lock" for entry in root.iterdir()):
        raise LedgerError(f"{root} is not empty and no export", remedy="choose another folder")
    write_bytes(path, plan)
    for stray in root.rglob(f"*{disk.PART}"):
        shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
    return plan


def _key(plan: bytes, output: Output) -> str:
    """Digest of all that the content of a file depends on."""
    return digest(plan + plain({"path": output.path, "indices": output.indices, "keys": output.keys}))


def _seen(root: Path, asked: tuple[str, str]) -> tuple[str, bool]:
    """The path of a file, and whether it stands as it was written under this key; runs in any process."""
    path, key = asked
    try:
        told = unseal(_sum(root, path).read_bytes(), path)
    except (OSError, DamagedError):
        return path, False
    written = told["bytes"], told["crc32c"]
    return path, told["key"] == key and (root / path).exists() and checksum(root / path) == written


def _write(root: Path, pack: Pack, settings: BaseModel, keys: Mapping[str, str], output: Output) -> None:
    """Write one output under a temporary name, and move it when it is whole and durable; runs in any process."""
    path = root / output.path
    temporary = path.with_name(path.name + disk.PART)
    with named_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.taking_place(temporary, path):
            _PLUGS.load(str(getattr(settings, "format", ""))).write(temporary, pack, output, settings)
            size, crc = checksum(temporary)
            disk.sync_tree(temporary)
            # Before the file has its name: one under its name always has its sum.
            write_bytes(_sum(root, output.path), seal({"key": keys[output.path], "bytes": size, "crc32c": crc}))
            if path.is_dir():
                shutil.rmtree(path)


def _sum(root: Path, path: str) -> Path:
    return root / _SUMS / f"{path}.json"


def _finish(root: Path, pack: Pack, settings: BaseModel, outputs: Sequence[Output], new: int) -> Exported:
    index = parquet_bytes(_index(pack, outputs))
    write_bytes(root / _INDEX, index)
    sums = [unseal(_sum(root, one.path).read_bytes(), f"the sum of {one.path}", remedy=_AGAIN) for one in outputs]
    files = [(one.path, told["bytes"], told["crc32c"]) for one, told in zip(outputs, sums, strict=True)]
    told = {
        "format": str(getattr(settings, "format", "")), "shape": pack.shape, "dtype": pack.coding.dtype,
        "channels": pack.channels, "licence": pack.description.licence, "files": files,
        "index": (len(index), int(google_crc32c.value(index))),
    }  # fmt: skip
    write_bytes(root / _DOCUMENT, seal(told))
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
    told = unseal(path.read_bytes(), f"{_DOCUMENT} of {root}", remedy=_AGAIN)
    for name, _, _ in told["files"]:
        checked(name)
    return told


def _checked(root: Path, path: str, size: int, crc: int) -> Path:
    """Where a file of an export lies. Raises NotFoundError, or DamagedError where it is not what was written."""
    if not (root / path).exists():
        raise NotFoundError(f"{path} of {root} is not there", remedy=_AGAIN)
    if checksum(root / path) != (size, crc):
        raise DamagedError(f"{path} of {root} is not what was written", remedy=_AGAIN)
    return root / path
