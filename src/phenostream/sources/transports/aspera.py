"""Aspera, through IBM's program ``ascp``: whole files, fast over long distances."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from phenostream.errors import (
    BrokenTransferError,
    DamagedError,
    DiskFullError,
    ForbiddenError,
    HostileError,
    MissingExtraError,
    NotFoundError,
    PhenostreamError,
    RecipeError,
    TooLargeError,
    UnreachableError,
)
from phenostream.sources.names import join, shown
from phenostream.sources.transport import Arrival
from phenostream.sources.transports._scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from phenostream.sources.options import TransportOptions

_CHUNK = 1 << 20
_PORT = 33001
_GLANCE = 0.1
_TAIL = 64 << 10
# Control characters and what IBM's manual says not to use in names: ascp reads patterns and quotes into them.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f*?\[\]{}\\\"'<>|&;$`]")
_WORD = re.compile(r"[A-Za-z0-9_.][\w.+-]*")
# What ascp writes to its log, and what it shows at the end: exact bytes, and whole kibibytes.
_STOP = re.compile(r"FASP Transfer Stop [^\n]*?status=success [^\n]*? size=(\d+)")
_SUM = re.compile(r"Completed: (\d+)K bytes transferred")
_FULL = re.compile(r"no space left|disk full|quota", re.IGNORECASE)
_ABSENT = re.compile(r"no such file|not found|does not exist", re.IGNORECASE)
_REFUSED = re.compile(r"authenticat|permission denied|not authorized|access denied|password|license", re.IGNORECASE)
_AWAY = re.compile(r"connect|resolve|unreachable|name or service|no route", re.IGNORECASE)


class Transport:
    """Reads files below ``aspera://user@host:port/folder`` by having ``ascp`` fetch each of them whole, once.

    The latest files stay on disk while the transport lives, up to `largest_scratch` bytes: reading many parts of a file
    costs one transfer, reading one part costs one too.
    """

    def __init__(self, base: str, options: TransportOptions) -> None:
        """Read below the URL `base`; the port is 33001 where it names none.

        Raises RecipeError (no user or host, or names that are none), MissingExtraError (there is no ascp).
        """
        parts = urlsplit(base)
        self._base, self._options = base, options
        self._host, self._user = parts.hostname or "", options.user or unquote(parts.username or "")
        self._port = parts.port or _PORT
        self._root = unquote(parts.path).rstrip("/")
        given = options.password.get_secret_value() if options.password else unquote(parts.password or "")
        self._environment = {**os.environ, "ASPERA_SCP_PASS": given} if given else None
        self._check()
        self._program = _program(options.ascp)
        self._scratch = Scratch(options.scratch, options.largest_scratch)

    def _check(self) -> None:
        if not (_WORD.fullmatch(self._host) and _WORD.fullmatch(self._user)):
            raise RecipeError(f"{shown(self._base)} names no user and host", remedy="aspera://user@host/folder")
        if ".." in self._root.split("/"):
            raise RecipeError(f"{shown(self._base)} leads out of its folder", remedy="name the folder itself")
        if self._options.key_file and not os.path.isfile(self._options.key_file):
            raise RecipeError(f"there is no key file {self._options.key_file}", remedy="check key_file")

    @contextmanager
    def fetch(self, key: str, *, start: int = 0, stop: int | None = None, version: str = "") -> Iterator[Arrival]:
        """See `phenostream.sources.transport.Transport`."""
        del version  # compared by the store, before a byte is read
        url = shown(join(self._base, key))
        source = self._source(key)
        with self._scratch.copy(key, lambda folder: self._bring(source, folder, url)) as copy:
            end = copy.size if stop is None else min(stop, copy.size)
            yield Arrival(copy.size, copy.version, start, _chunks(copy.handle, start, end))

    def _source(self, key: str) -> str:
        path = f"{self._root}/{key}"
        if _UNSAFE.search(path) or any(part.startswith("-") for part in path.split("/")):
            raise HostileError(f"ascp would misread the name {key!r}", remedy="fetch it through https:// or ftp://")
        return f"{self._user}@{self._host}:{path}"

    def _bring(self, source: str, folder: Path, url: str) -> Path:
        target = folder / "file"
        resumed = target.exists()
        with (folder / "log").open("wb") as log, self._started(source, target, log) as process:
            try:
                self._watch(process, folder, url)
            finally:
                process.kill()
        said = _tail(folder / "log")
        if process.returncode:
            raise _named(process.returncode, said, url)
        _verify(target, said, url, resumed=resumed)
        return target

    def _started(self, source: str, target: Path, log: BinaryIO) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603  (an argument list: no shell reads it)
                self.arguments(source, str(target)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        except OSError as error:
            told = f"{self._program} cannot be run: {error.strerror}"
            raise MissingExtraError(told, remedy="install the ascp made for this system") from error

    def arguments(self, source: str, target: str) -> list[str]:
        """The program and its arguments: no encryption, fair rate, continue what is there, log to the output."""
        key = ["-i", self._options.key_file] if self._options.key_file else []
        how = ["-T", "-Q", "-l", self._options.target_rate, "-P", str(self._port), "-k", "1", "-L-", *key]
        return [self._program, *how, source, target]

    def _watch(self, process: subprocess.Popen[bytes], folder: Path, url: str) -> None:
        """Wait for the end. Raises where nothing moves any more, where it grows too large, or is a folder."""
        last, since = _state(folder), time.monotonic()
        while True:
            try:
                process.wait(_GLANCE)
            except subprocess.TimeoutExpired:
                now = _state(folder)
            else:
                return
            _refuse_folder(folder / "file", url)
            if sum(size for _, size, _, _ in now) > self._scratch.limit:
                raise TooLargeError(f"{url} is over {self._scratch.limit} bytes", remedy="raise largest_scratch")
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > self._options.timeout:
                raise BrokenTransferError(f"{url}: the transfer stalled", remedy="it is continued where it broke")


def _program(asked: str) -> str:
    name = asked or os.environ.get("ASPERA_SCP") or "ascp"
    found = shutil.which(name)
    if found is None:
        raise MissingExtraError(
            f"there is no program {name}",
            remedy="install IBM Aspera (Connect, CLI or Transfer SDK); say where its ascp is in the option ascp, in "
            "ASPERA_SCP or on the PATH; or read the same archive through https:// or ftp://",
        )
    return found


def _state(folder: Path) -> list[tuple[str, int, int, int]]:
    # Size, room on disk and time: ascp may give a file its full size before the first byte is there.
    seen = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            seen.append((entry.name, found.st_size, found.st_blocks, found.st_mtime_ns))
    return sorted(seen)


def _refuse_folder(target: Path, url: str) -> None:
    if target.is_dir():
        raise NotFoundError(f"{url} is a folder", remedy="check the name and the base URL")


def _verify(target: Path, said: str, url: str, *, resumed: bool) -> None:
    """Compare the file with the length that ascp has announced; a file of unknown length is not taken."""
    _refuse_folder(target, url)
    if not target.is_file():
        raise NotFoundError(f"{url}: ascp ended well, but brought no file", remedy="check the name and the base URL")
    size, exact, about = target.stat().st_size, _STOP.findall(said), _SUM.findall(said)
    if exact and size == int(exact[-1]):
        return
    if not exact and about and not resumed and abs(size - 1024 * int(about[-1])) <= 1024:
        return
    target.unlink()
    target.with_name(f"{target.name}.aspx").unlink(missing_ok=True)  # where ascp notes how far it got
    if exact or about or resumed:
        announced = f"{exact[-1]} bytes" if exact else "another length"
        raise BrokenTransferError(f"{url}: {size} bytes arrived, ascp announced {announced}", remedy="it starts anew")
    raise DamagedError(f"{url}: ascp does not say how long it is", remedy="use another ascp, or https:// or ftp://")


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return file.read().decode("utf-8", "replace")


def _named(status: int, said: str, url: str) -> PhenostreamError:
    lines = [line.strip() for line in re.split(r"[\r\n]+", said) if line.strip()]
    told = f"ascp ended with status {status}: {lines[-1][:300] if lines else 'without a word'}"
    words = "\n".join(line for line in lines if "rror" in line or line.startswith("ascp:")) or said
    if _FULL.search(words):
        return DiskFullError(f"{url}; {told}", remedy="free space, or point scratch to another disk")
    if _ABSENT.search(words):
        return NotFoundError(f"{url} does not exist; {told}", remedy="check the name and the base URL")
    if _REFUSED.search(words):
        return ForbiddenError(f"{url} was refused; {told}", remedy="check user, key_file and password")
    if _AWAY.search(words):
        return UnreachableError(f"{url} cannot be reached; {told}", remedy="TCP and UDP 33001 must be open")
    return BrokenTransferError(f"{url}: the transfer broke; {told}", remedy="it is continued where it broke")


def _chunks(handle: int, start: int, end: int) -> Iterator[bytes]:
    while start < end and (chunk := os.pread(handle, min(_CHUNK, end - start), start)):
        start += len(chunk)
        yield chunk
