"""The run folder: its lock, its spool, and how a file becomes durable in it."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phenostream import disk
from phenostream.errors import BusyError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

_REMEDY = "free disk space or choose another folder, then run again: nothing is lost"
_PATIENCE = 10.0
_PAUSE = 0.05
_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "beegfs", "gpfs", "glusterfs", "pvfs2",
    "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.ceph", "fuse.davfs2",
}  # fmt: skip

_README = """This folder is one phenostream run. It explains itself:

run.json       the resolved recipe, versions, seeds and input hashes
ledger.db      SQLite: every input with its state (done, rejected, failed, waiting) and reason, and every part
parts/         one Parquet file a field, named by its content; read them with phenostream.read_profiles(FOLDER)
illumination/  the fitted illumination functions, one .npz a plate and channel
depot.json     only where parts and models were put elsewhere: where that is
report.html    open it in a browser
run.log        what happened, in words
run.jsonl      the same as JSON lines; failures carry an id
spool/         scratch, empty when nothing runs

`phenostream status FOLDER` tells how far it is; running the same recipe again goes on where it stopped.
"""


def open_folder(path: Path) -> Path:
    """Make the run folder and its rooms. Raises DiskFullError where it cannot be written."""
    with named_disk(path):
        try:
            for name in ("parts", "illumination", "spool"):
                (path / name).mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise DiskFullError(f"{error.filename} is in the way", remedy="choose another folder") from error
    return path


def explain(path: Path) -> None:
    """Leave the page that explains the folder to whoever finds it."""
    write_text(path / "README.txt", _README)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder for this process. Raises BusyError with the pid of the one that has it.

    While nobody works in it, a run beside it may be clearing up after the one that died there: that is waited for.
    """
    with named_disk(path), ExitStack() as stack:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                stack.enter_context(disk.locked(path))
                break
            except BusyError:
                if _lives(disk.holder(path)) or time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE)
        yield


def _lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def network_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The kind of network file system that `path` lies on (``nfs4``, ``cifs`` ...); empty for a local disk."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found, kind = "", ""
    real = f"{os.path.realpath(path)}/"
    for line in lines:
        here, _, there = line.partition(" - ")
        point = here.split()[4].replace("\\040", " ").rstrip("/") + "/"
        if real.startswith(point) and len(point) >= len(found):
            found, kind = point, there.split()[0]
    return kind if kind in _NETWORK else ""


def sweep(path: Path, named: Callable[[str], set[str]]) -> int:
    """Delete scratch and every part and fit that the ledger does not name; bytes freed.

    `named` gives the files below a folder that the ledger names: a folder at a time, since there may be a million.
    """
    freed = clear_spool(path)
    with named_disk(path):
        for file in strays(path, named):
            freed += file.lstat().st_size
            file.unlink()
    return freed


def strays(path: Path, named: Callable[[str], set[str]]) -> list[Path]:
    """Files that an idle run folder should not hold: scratch, half-written ones, parts and fits not `named`."""
    rooms = [room for room in ("parts", "illumination", "spool") if (path / room).is_dir()]
    found = [Path(file) for room in rooms for file in _unnamed(path / room, room, named)]
    return [*found, *sorted(path.glob("*.part"))]


def _unnamed(folder: Path | str, name: str, named: Callable[[str], set[str]]) -> Iterator[str]:
    """Files below `folder` that `named` does not know, sorted; no object is made for those that it does."""
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            (folders if entry.is_dir(follow_symlinks=False) else files).append(f"{name}/{entry.name}")
    if files:
        strays = set(files) - named(f"{name}/")
        yield from sorted(os.path.join(folder, file.rpartition("/")[2]) for file in strays)
    for inner in sorted(folders):
        yield from _unnamed(os.path.join(folder, inner.rpartition("/")[2]), inner, named)


def clear_spool(path: Path) -> int:
    """Delete all scratch; bytes freed."""
    freed = 0
    with named_disk(path):
        for entry in (path / "spool").iterdir():
            freed += size_of(entry)
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    return freed


def size_of(path: Path) -> int:
    """Bytes below `path`; files that vanish meanwhile count nothing."""
    files = (Path(root) / name for root, _, names in os.walk(path) for name in names) if path.is_dir() else iter([path])
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def publish(folder: Path, payload: bytes, room: str, suffix: str) -> tuple[str, str]:
    """Write `payload` durably under its content hash: (path relative to the folder, sha256).

    Temporary name beside it, fsync, rename, fsync of the folder: a file under its final name is whole. (Beside it, and
    not in the spool, so that the spool may lie on another disk.)
    """
    name, sha256 = content_name(payload, room, suffix)
    final = folder / name
    shelf = final.parent
    with named_disk(folder):
        new_shelf = not shelf.is_dir()
        shelf.mkdir(parents=True, exist_ok=True)
        disk.replace_bytes(final, payload)
        if new_shelf:
            disk.sync(shelf.parent)
    return name, sha256


def content_name(payload: bytes, room: str, suffix: str) -> tuple[str, str]:
    """The name that `payload` goes by, relative to the run folder or depot, and its sha256."""
    sha256 = hashlib.sha256(payload).hexdigest()
    return f"{room}/{sha256[:2]}/{sha256}{suffix}", sha256


def write_text(path: Path, text: str) -> None:
    """Replace a small file atomically and durably; one that says the same already is left as it is."""
    with named_disk(path):
        disk.ensure_bytes(path, text.encode())


def named_disk(path: Path) -> AbstractContextManager[None]:
    """A full, read-only or failing disk under this project's name for it."""
    return disk.named(f"cannot write below {path}", remedy=_REMEDY)
