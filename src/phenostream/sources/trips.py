"""One read on its way: what has arrived, from which version, and what is still missing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from phenostream.errors import BrokenTransferError, DamagedError, TooLargeError, UnsettledError

if TYPE_CHECKING:
    from typing import BinaryIO

    from phenostream.sources.transport import Arrival


_MD5 = re.compile(r'"([0-9a-f]{32})"')


class Sink(Protocol):
    """Where arriving bytes go."""

    def expect(self, count: int) -> None:
        """Refuse (TooLargeError) if `count` bytes in all are too many."""
        ...

    def write(self, chunk: bytes) -> None:
        """Append `chunk`."""
        ...

    def restart(self) -> None:
        """Forget everything."""
        ...

    def md5(self) -> str:
        """MD5 of all that was written, 32 hex digits."""
        ...


class MemorySink:
    """Collects bytes in memory, up to a limit."""

    def __init__(self, limit: int) -> None:
        """Hold `limit` bytes at most."""
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = 0

    def expect(self, count: int) -> None:
        """See `Sink`."""
        if count > self._limit:
            raise TooLargeError(
                f"a read of {count} bytes is over the limit of {self._limit}",
                remedy="raise largest_read in the source's options, or download the file",
            )

    def write(self, chunk: bytes) -> None:
        """See `Sink`; also refuses what grows over the limit without having announced it."""
        self.expect(self._held + len(chunk))
        self._parts.append(chunk)
        self._held += len(chunk)

    def restart(self) -> None:
        """See `Sink`."""
        self._parts.clear()
        self._held = 0

    def md5(self) -> str:
        """See `Sink`."""
        return hashlib.md5(self.bytes(), usedforsecurity=False).hexdigest()

    def bytes(self) -> bytes:
        """All that was written."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


class FileSink:
    """Writes bytes to an open file and hashes them on the way."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to `file`, which must be empty and seekable."""
        self._file = file
        self._hash()

    def expect(self, count: int) -> None:
        """See `Sink`; the disk is the limit."""

    def write(self, chunk: bytes) -> None:
        """See `Sink`."""
        self._file.write(chunk)
        self.sha256.update(chunk)
        self._md5.update(chunk)

    def restart(self) -> None:
        """See `Sink`."""
        self._file.seek(0)
        self._file.truncate()
        self._hash()

    def md5(self) -> str:
        """See `Sink`."""
        return self._md5.hexdigest()

    def _hash(self) -> None:
        self.sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)


@dataclass(slots=True)
class Trip:
    """The state of one read over all its tries.

    Attributes:
        url: for messages.
        start: first byte wanted.
        stop: end of the bytes wanted (exclusive), None for the end of the blob.
        sink: where the bytes go.
        total: length of the blob, None until known.
        version: of the bytes in the sink, empty until known.
        done: bytes in the sink.
        refuted: MD5 of each whole arrival that did not match the server's.
    """

    url: str
    start: int
    stop: int | None
    sink: Sink
    total: int | None = None
    version: str = ""
    done: int = 0
    refuted: list[str] = field(default_factory=list)
    _next: int = field(default=0)

    @property
    def here(self) -> int:
        """Position of the first byte that is still missing."""
        return self.start + self.done

    @property
    def end(self) -> int | None:
        """Position behind the last byte that is wanted and exists; None until known."""
        if self.total is None:
            return None
        return max(self.start, self.total if self.stop is None else min(self.stop, self.total))

    @property
    def complete(self) -> bool:
        """Whether all bytes wanted are in the sink."""
        return self.here == (self.stop if self.end is None else self.end)

    def begin(self, arrival: Arrival, largest_skip: int) -> None:
        """Take note of what a server begins to send.

        Raises UnsettledError where it is another version than before, TooLargeError where it ignores the range and too
        much would have to be thrown away, BrokenTransferError where it starts behind what was asked.
        """
        self._same(arrival)
        self.version = self.version or arrival.version
        self.total = self.total if arrival.total is None else arrival.total
        if arrival.start > self.here:
            raise BrokenTransferError(f"{self.url}: asked from byte {self.here}, sent from {arrival.start}")
        # An arrival that ends before our bytes begin (an empty file, an empty range) skips nothing.
        skipped = min(self.here, self.here if arrival.total is None else arrival.total) - arrival.start
        if skipped > largest_skip:
            raise TooLargeError(
                f"{self.url}: the server ignores ranges, {skipped} bytes would be thrown away for this read",
                remedy="download the file and read it locally, or raise largest_skip in the source's options",
            )
        if self.end is not None:
            self.sink.expect(self.end - self.start)
        self._next = arrival.start

    def take(self, chunk: bytes) -> None:
        """Keep the part of the next `chunk` that is wanted and missing."""
        wanted = chunk[self.here - self._next :] if self._next < self.here else chunk
        limit = self.stop if self.end is None else self.end
        if limit is not None:
            wanted = wanted[: max(0, limit - self.here)]
        self._next += len(chunk)
        if wanted:
            self.sink.write(wanted)
            self.done += len(wanted)

    def finish(self) -> None:
        """The present try has ended. Raises BrokenTransferError where bytes are missing."""
        if self.total is None and not self.complete:
            # A body without a length ends where the blob does: transports raise where its end mark is absent.
            self.total = self.here
        if self.end is not None and self.here < self.end:
            raise BrokenTransferError(
                f"{self.url}: the body ended at byte {self.here} of {self.end}", remedy="it is continued where it broke"
            )

    def prove(self, alike: int) -> bool | None:
        """Compare a whole blob with its ETag where that looks like an MD5 (S3, single-part uploads).

        TCP lets some wrong bytes pass; this finds them without another byte moved. Not every ETag of 32 hex digits is
        an MD5 (server-side encryption), so what arrives `alike` times with the same wrong hash is taken as it is.

        Returns whether they match; None where there is nothing to compare. Raises BrokenTransferError (and forgets all
        but the hash) where they do not match and it has not yet come alike so often.
        """
        told = _MD5.fullmatch(self.version)
        if told is None or self.start or self.here != self.total:
            return None
        found = self.sink.md5()
        self.refuted.append(found)
        if found == told[1] or self.refuted.count(found) >= alike:
            return found == told[1]
        self.restart()
        raise BrokenTransferError(f"{self.url}: what arrived does not match its ETag", remedy="it is fetched again")

    def restart(self) -> None:
        """Forget everything that has arrived."""
        self.sink.restart()
        self.done, self.version, self.total = 0, "", None

    def size(self) -> int:
        """Length of the blob. Raises DamagedError where the server does not say."""
        if self.total is None:
            raise DamagedError(f"{self.url}: the server does not tell its length", remedy="read it from another server")
        return self.total

    def _same(self, arrival: Arrival) -> None:
        other_version = self.version and arrival.version and arrival.version != self.version
        other_total = self.total is not None and arrival.total is not None and arrival.total != self.total
        if other_version or other_total:
            raise UnsettledError(f"{self.url} changed while it was being read", remedy="try again when it has settled")
