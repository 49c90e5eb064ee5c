"""Where a run's files lie: in its folder, or in the depot that its folder names; and runs opened by URL."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenostream.errors import DamagedError, NotFoundError
from phenostream.sources import TransportOptions, download
from phenostream.sources.depots import is_url, open_depot

if TYPE_CHECKING:
    from phenostream.sources.depots import LocalDepot, RemoteDepot

#: The file in a run folder that says where its parts and models are, if they are not beside it.
NOTE = "depot.json"

_ROOMS = ("parts", "illumination")
_DIGEST = 64
_mirrors: dict[str, tuple[str, Path]] = {}


def note_of(at: str, options: TransportOptions, *, mirror: bool = False) -> str:
    """Content of the `NOTE` for a depot at `at`. Options go with it, credentials never do."""
    told = json.loads(options.model_dump_json(exclude_defaults=True))
    kept = {name: value for name, value in told.items() if name not in _secrets()}
    return json.dumps({"at": at, "options": kept, "mirror": mirror}, indent=2, sort_keys=True) + "\n"


def depot_of(folder: Path) -> LocalDepot | RemoteDepot | None:
    """The depot that holds the parts of a run folder; None where they are in the folder. Raises DamagedError."""
    try:
        found = (folder / NOTE).stat()
    except OSError:
        return None
    return _opened(folder / NOTE, found.st_mtime_ns, found.st_ino)


def is_mirror(folder: Path) -> bool:
    """Whether a run folder is only a copy for reading, made of a run opened by URL."""
    return bool((folder / NOTE).is_file() and _told(folder / NOTE).get("mirror"))


@lru_cache(maxsize=32)
def _opened(note: Path, _changed: int, _inode: int) -> LocalDepot | RemoteDepot:
    told = _told(note)
    return open_depot(told["at"], options=TransportOptions(**told.get("options", {})))


def _told(note: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(note.read_bytes())
        if isinstance(told["at"], str) and isinstance(told.get("options", {}), dict):
            return told
    except (ValueError, KeyError, TypeError):
        pass
    raise DamagedError(f"{note} does not say where the parts are", remedy="run the recipe again: it is written anew")


def _secrets() -> set[str]:
    return {name for name, field in TransportOptions.model_fields.items() if "Secret" in str(field.annotation)}


def stored_bytes(path: Path) -> bytes | None:
    """The bytes of a part or model that is not at `path` itself, from the depot of its run folder; None without one.

    Raises:
        NotFoundError: the depot does not have it either.
        DamagedError: other bytes than its name, which is their hash, says.
        What stores raise.
    """
    if len(path.parts) < 3 or path.parents[1].name not in _ROOMS or (depot := depot_of(path.parents[2])) is None:
        return None
    data = depot.read(path.relative_to(path.parents[2]).as_posix())
    if len(path.stem) == _DIGEST and hashlib.sha256(data).hexdigest() != path.stem:
        raise DamagedError(f"{path.name} in {depot!r} is not what was written", remedy="phenostream verify --repair")
    return data


def run_folder(run: str | Path) -> Path:
    """`run` as a folder: itself, or for an ``s3://`` or ``gs://`` URL a copy of the ledger that its depot holds.

    The copy is fetched anew only where it has changed, reads its parts from the depot, and goes when Python ends.
    Credentials and endpoint come from the environment (see :class:`phenostream.sources.TransportOptions`).

    Raises:
        NotFoundError: no run has put its ledger there. Others as stores raise.
    """
    if not (url := is_url(run)):
        return Path(run)
    url = url.rstrip("/")
    depot = open_depot(url)
    try:
        version = depot.arrive("ledger.db", 0, 0).version
        known, folder = _mirrors.get(url, ("", None))
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="phenostream-"))
            atexit.register(_forget, folder, os.getpid())
            (folder / NOTE).write_text(note_of(url, TransportOptions(), mirror=True))
        if not version or version != known:
            download(depot, "ledger.db", folder / "ledger.db")
            with suppress(NotFoundError):
                download(depot, "run.json", folder / "run.json")
    except NotFoundError as error:
        raise NotFoundError(f"{url} holds no run: it has no ledger.db", remedy="check bucket and prefix") from error
    _mirrors[url] = version, folder
    return folder


def _forget(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
