"""The control connection of FTP, with bounded answers."""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from ftplib import FTP_TLS, Error, error_perm, error_proto, error_reply
from typing import TYPE_CHECKING

from phenostream.errors import HostileError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_ANSWER = 2000
_UNKNOWN = {"500", "501", "502", "504", "522"}
_SIZE = re.compile(r"213 +(\d+)\s*")
_TIME = re.compile(r"213 +(\d{14}(?:\.\d+)?)\s*")
_FAREWELL = 5.0
# As `ls -l` writes it, which most servers do: type and rights, links, owner, group, size, date, name.
_LS = re.compile(r"([-dl])[-\w]{9}\S* +\d+ +\S+ +\S+ +\d+ +\w+ +\S+ +\S+ (.+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a listing says of one file or folder; `unique` is the same for the same one under another name."""

    name: str
    is_folder: bool
    unique: str = ""


class Line(FTP_TLS):
    """One login. Names are UTF-8, whatever else the server says in other encodings.

    Attributes:
        clean: no answer is due: the next question will get its own.
    """

    def __init__(self, connect_timeout: float, timeout: float, trust: ssl.SSLContext | None) -> None:
        """Not connected yet; `timeout` is for silence after that, `trust` for TLS."""
        super().__init__(context=trust, timeout=connect_timeout, encoding="latin-1")
        self.clean = True
        self._connect_timeout, self._silence = connect_timeout, timeout
        self._lines = 0
        self._private = False

    def putcmd(self, line: str) -> None:
        """Send a command."""
        self.clean = False
        super().putcmd(line.encode("utf-8", "surrogateescape").decode("latin-1"))

    def getline(self) -> str:
        """One line of an answer."""
        self._lines += 1
        if self._lines > _LONGEST_ANSWER:
            raise error_proto("an answer without end")  # noqa: S321  (a reply's name, no call of FTP)
        return super().getline()

    def getmultiline(self) -> str:
        """A whole answer."""
        self._lines = 0
        reply = super().getmultiline()
        self.clean = not reply.startswith(("1", "421"))  # which announce another, and the end
        return reply

    def enter(self, user: str, password: str, *, private: bool) -> None:
        """Log in, and say that bytes are meant as they are."""
        self.timeout = self._silence
        self._wait_for(self._silence)
        self.login(user, password, secure=False)
        if private:
            self.prot_p()
        self._private = private
        self.voidcmd("TYPE I")

    def length(self, path: str) -> int | None:
        """Bytes of a file; None where the server cannot say (RFC 3659, section 4)."""
        told = self._asked("SIZE", path, _SIZE)
        return None if told is None else int(told)

    def changed(self, path: str) -> str:
        """Time of its last change; empty where the server cannot say (RFC 3659, section 3)."""
        return self._asked("MDTM", path, _TIME) or ""

    def _asked(self, word: str, path: str, answer: re.Pattern[str]) -> str | None:
        try:
            reply = self.sendcmd(f"{word} {path}")
        except error_perm as error:
            if str(error)[:3] in _UNKNOWN:
                return None
            raise
        told = answer.fullmatch(reply)
        if told is None:
            self.clean = False  # whose answer that was, nobody knows
            raise error_proto(reply)  # noqa: S321  (a reply's name, no call of FTP)
        return told[1]

    def send(self, path: str, start: int, end: int | None) -> tuple[int, socket.socket]:
        """Have a file sent from byte `start` on; the position at which it begins, and where it comes in."""
        host, port = self.makepasv()
        data = socket.socket(self.af, socket.SOCK_STREAM)
        try:
            self._meet(data, host, port, None if end is None else end - start)
            begin = self._skip(start)
            self._begin(f"RETR {path}")
            data.settimeout(self._silence)
            return begin, self._wrapped(data)
        except BaseException:
            data.close()
            raise

    def _meet(self, data: socket.socket, host: str, port: int, wanted: int | None) -> None:
        if wanted is not None and wanted < 1 << 20:
            # FTP knows no end of a range: what the window lets in before we hang up is sent for nothing.
            data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, max(16 << 10, wanted))
        data.settimeout(self._connect_timeout)
        data.connect((host, port))

    def _begin(self, command: str) -> None:
        reply = self.sendcmd(command)
        if not reply.startswith("1"):
            raise error_reply(reply)  # noqa: S321  (a reply's name, no call of FTP)

    def _skip(self, start: int) -> int:
        if not start:
            return 0
        try:
            self.sendcmd(f"REST {start}")
        except error_perm:  # it cannot: the file comes from its beginning
            return 0
        return start

    def _wrapped(self, data: socket.socket) -> socket.socket:
        if not self._private:
            return data
        # Many servers want the session of the control connection, as a proof that it is the same client.
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        return self.context.wrap_socket(data, server_hostname=self.host, session=session)

    def finish(self, data: socket.socket) -> None:
        """The server has ended the body: raises what it says about that, if not that all went well."""
        self._wait_for(min(_FAREWELL, self._silence))  # it has nothing else to do than to say so
        with suppress(OSError):
            data.settimeout(min(_FAREWELL, self._silence))
            if isinstance(data, ssl.SSLSocket):
                data.unwrap()  # some servers wait for this farewell before they say how it went
        data.close()
        self.voidresp()
        self._wait_for(self._silence)

    def hang_up(self, data: socket.socket) -> None:
        """All that was wanted is here; whatever the server says to that is no longer of interest."""
        data.close()
        self._wait_for(min(_FAREWELL, self._silence))
        with suppress(OSError, EOFError, Error):
            self.getresp()
        self._wait_for(self._silence)

    def _wait_for(self, seconds: float) -> None:
        if self.sock is not None:
            self.sock.settimeout(seconds)
            # A long transfer leaves this line silent: routers forget such lines.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def listed(self, path: str) -> list[Entry]:
        """Files and folders in a folder, by MLSD, else from what LIST shows; links as the server wants them seen."""
        try:
            found = list(self._by_facts(path))
        except error_perm as error:
            if str(error)[:3] not in _UNKNOWN:
                raise
            found = list(self._by_sight(path))
        self.voidcmd("TYPE I")  # listings are text
        return [entry for entry in found if entry.name not in {".", ".."}]

    def _by_facts(self, path: str) -> Iterator[Entry]:
        for name, facts in self.mlsd(path):
            kind = facts.get("type", "").lower()
            if kind in {"file", "dir"}:
                yield Entry(_name(name), kind == "dir", facts.get("unique", ""))

    def _by_sight(self, path: str) -> Iterator[Entry]:
        lines: list[str] = []
        self.retrlines(f"LIST {path}".rstrip(), lines.append)
        for line in lines:
            seen = _LS.fullmatch(line)
            if seen and seen[1] != "l":
                yield Entry(_name(seen[2]), seen[1] == "d")


def _name(told: str) -> str:
    name = told.encode("latin-1").decode("utf-8", "surrogateescape")
    if "/" in name or "\0" in name:
        raise HostileError(f"the server lists a file named {name!r}", remedy="do not trust it")
    return name
