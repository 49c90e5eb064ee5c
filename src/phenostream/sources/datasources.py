"""Datasources: named folders whose content is known, file by file, and must stay as it is."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phenostream.errors import ChangedError, DamagedError, EmptyError, HostileError, NotFoundError, RecipeError
from phenostream.sources.download import temporary
from phenostream.sources.options import TransportOptions
from phenostream.sources.transports.local import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Entry", "Manifest", "manifest", "open", "register"]

Verify = Literal["content", "full"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LAYOUT = 1
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        sha256: of its content, hex.
        bytes: its length.
        stamp: device, inode, time of last write and of last change of the inode, in nanoseconds, when it was hashed.
    """

    sha256: str
    bytes: int
    stamp: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a datasource holds.

    Attributes:
        name: of the datasource.
        folder: where its files lie.
        files: key of each file, relative to the folder, and what it holds.
    """

    name: str
    folder: Path
    files: Mapping[str, Entry]

    @property
    def digest(self) -> str:
        """SHA-256 over the keys, lengths and hashes: content only, not place or time. 64 hex digits."""
        content = sorted([key, entry.bytes, entry.sha256] for key, entry in self.files.items())
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(entry.bytes for entry in self.files.values())


def home_folder(home: str | os.PathLike[str] | None = None) -> Path:
    """Where manifests are kept: `home`, else ``$PHENOSTREAM_HOME/datasources``, else the user's data folder (XDG)."""
    if home is not None:
        return Path(home)
    if told := os.environ.get("PHENOSTREAM_HOME"):
        return Path(told) / "datasources"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "phenostream" / "datasources"


def register(name: str, folder: str | os.PathLike[str], *, home: str | os.PathLike[str] | None = None) -> Manifest:
    """Hash every file below `folder` and write down, under `name`, what it holds. Done once; files must then stay.

    Registering the same content again, also from another place, is allowed. Raises RecipeError for a name that is not
    one, ChangedError where the name stands for other content, HostileError for a link that leaves the folder,
    EmptyError without files.
    """
    path = _place(name, home)
    root = Path(folder).resolve()
    made = Manifest(name, root, _hashed(root, {}))
    if not made.files:
        raise EmptyError(f"{root} holds no files", remedy="register the folder that holds the images")
    if path.exists() and (known := manifest(name, home=home)).digest != made.digest:
        differing = _told(_differences(known.files, made.files))
        raise ChangedError(
            f"datasource {name!r} stands for other content in {known.folder}: {differing}",
            remedy=f"choose another name, or delete {path}",
        )
    _write(made, path)
    return made


def manifest(name: str, *, home: str | os.PathLike[str] | None = None) -> Manifest:
    """What was registered under `name`; the folder is not looked at. Raises NotFoundError, DamagedError."""
    path = _place(name, home)
    try:
        told = json.loads(path.read_bytes())
        if told["layout"] != _LAYOUT:
            raise DamagedError(f"{path} was written by another version", remedy="register the folder again")
        found = Manifest(name, Path(told["folder"]), {key: _entry(one) for key, one in told["files"].items()})
        digest = told["digest"]
    except FileNotFoundError:
        known = ", ".join(sorted(one.stem for one in path.parent.glob("*.json"))) or "none"
        raise NotFoundError(f"there is no datasource {name!r}", remedy=f"register it first; known: {known}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is not a manifest", remedy="register the folder again") from error
    if found.digest != digest:
        raise DamagedError(f"{path} has been altered", remedy="register the folder again")
    return found


def open(  # noqa: A001  (datasources.open reads as what it does)
    name: str, *, home: str | os.PathLike[str] | None = None, verify: Verify = "content"
) -> Manifest:
    """The manifest of `name`, after its folder has been compared with it.

    With ``content``, files whose length, inode, time of last write and time of last inode change are as they were when
    they were hashed count as unchanged, all others are hashed. A program cannot set the time of inode change, so only
    a changed clock, a raw write to the disk, or bit rot escape; ``full`` hashes everything and sees those too.

    Raises ChangedError, which names up to 20 files that are missing, added or changed, and counts them; as `manifest`.
    """
    known = manifest(name, home=home)
    trusted = known.files if verify == "content" else {}
    found = _hashed(known.folder, trusted)
    if differing := _differences(known.files, found):
        raise ChangedError(
            f"datasource {name!r} is no longer what was registered: {_told(differing)}",
            remedy="restore these files, or register the folder under a new name",
        )
    if found != known.files:  # same content under new stamps, after a copy: keep the stamps for the next time
        _write(Manifest(name, known.folder, found), _place(name, home))
    return known


def _place(name: str, home: str | os.PathLike[str] | None) -> Path:
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{name!r} cannot be a datasource's name", remedy="letters, digits, dot, dash and underscore")
    return home_folder(home) / f"{name}.json"


def _hashed(root: Path, trusted: Mapping[str, Entry]) -> dict[str, Entry]:
    """All files below `root`; hashes are taken over from `trusted` where length and stamp are the same."""
    _refuse_links_out(root)
    found = {}
    for key in sorted(Transport(str(root), TransportOptions()).keys()):
        state = (root / key).stat()
        stamp = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
        known = trusted.get(key)
        if known is not None and (known.bytes, known.stamp) == (state.st_size, stamp):
            found[key] = known
            continue
        with (root / key).open("rb") as file:
            found[key] = Entry(hashlib.file_digest(file, "sha256").hexdigest(), state.st_size, stamp)
    return found


def _refuse_links_out(root: Path) -> None:
    real = Path(os.path.realpath(root))
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder) / name
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(real):
                raise HostileError(f"{path} is a link out of the datasource", remedy="put the file itself there")


def _differences(known: Mapping[str, Entry], found: Mapping[str, Entry]) -> list[str]:
    gone = [f"{key} is missing" for key in known.keys() - found.keys()]
    new = [f"{key} was added" for key in found.keys() - known.keys()]
    both = known.keys() & found.keys()
    other = [f"{key} has changed" for key in both if known[key].sha256 != found[key].sha256]
    return sorted(gone + new + other)


def _told(differing: list[str]) -> str:
    more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return f"{len(differing)} files differ: {'; '.join(differing[:_SHOWN])}{more}"


def _write(made: Manifest, path: Path) -> None:
    files = {key: [entry.sha256, entry.bytes, list(entry.stamp)] for key, entry in sorted(made.files.items())}
    told = {"layout": _LAYOUT, "name": made.name, "folder": str(made.folder), "digest": made.digest, "files": files}
    with temporary(path) as file:
        file.write(json.dumps(told, indent=1).encode())


def _entry(told: Any) -> Entry:
    sha256, length, (device, inode, written, changed) = told
    return Entry(str(sha256), int(length), (int(device), int(inode), int(written), int(changed)))
