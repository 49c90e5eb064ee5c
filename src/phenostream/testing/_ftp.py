"""The FTP server behind `phenostream.testing.servers.FtpServer`: pyftpdlib, which must be installed."""

from __future__ import annotations

import io
import logging
import time
import warnings
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    # It is built on asyncore, which Python 3.11 still has and announces to drop; for later ones it brings its own.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib import handlers  # type: ignore[import-untyped]
    from pyftpdlib.authorizers import DummyAuthorizer  # type: ignore[import-untyped]
    from pyftpdlib.filesystems import AbstractedFS  # type: ignore[import-untyped]
    from pyftpdlib.ioloop import IOLoop  # type: ignore[import-untyped]
    from pyftpdlib.servers import FTPServer  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from phenostream.testing.servers import Fault, FtpServer


class _Faulty(io.FileIO):
    """A file that breaks or stalls at a byte."""

    def __init__(self, path: str, fault: Fault, channel: Any) -> None:
        super().__init__(path, "rb")
        self._fault, self._channel = fault, channel
        size = self.seek(0, io.SEEK_END)
        self.seek(0)
        self._left = size // 2 if fault.after is None else fault.after

    def read(self, size: int | None = -1, /) -> bytes:
        if self._left <= 0 and self._fault.kind == "reset":
            # Under TLS pyftpdlib would end without a reply.
            self._channel.data_channel._resp = ("426 Transfer aborted.", logging.getLogger("pyftpdlib").debug)  # noqa: SLF001
            raise OSError("the disk fell off")
        if self._left <= 0:
            time.sleep(self._fault.seconds)
            self._left = 1 << 62
        chunk = super().read(min(size or -1, self._left)) or b""
        self._left -= len(chunk)
        return chunk


def made(owner: FtpServer, folder: str) -> Any:
    """A server on a free port that is run by calling its ``ioloop.loop`` again and again."""
    log = logging.getLogger("pyftpdlib")
    log.setLevel(logging.CRITICAL)
    if not log.handlers:
        log.addHandler(logging.NullHandler())  # else it sets up one of its own, on the standard error
    authorizer = DummyAuthorizer()
    if owner.user:
        authorizer.add_user(owner.user, owner.password, folder, perm="elr")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            authorizer.add_anonymous(folder, perm="elr")
    return FTPServer(("127.0.0.1", 0), _handler(owner, authorizer), ioloop=IOLoop())


def _handler(owner: FtpServer, authorizer: Any) -> type:
    """A handler class that tells `owner` what happens, and goes wrong as it says."""
    private = owner.certificate is not None
    base = handlers.TLS_FTPHandler if private else handlers.FTPHandler
    data = handlers.TLS_DTPHandler if private else handlers.DTPHandler

    class Files(AbstractedFS):  # type: ignore[misc]
        def open(self, filename: str, mode: str) -> Any:
            fault = self.cmd_channel.fault
            faulty = fault is not None and fault.kind in {"reset", "stall"}
            return _Faulty(filename, fault, self.cmd_channel) if faulty else super().open(filename, mode)

    class Data(data):  # type: ignore[misc, valid-type]
        def send(self, chunk: bytes) -> int:
            sent: int = super().send(chunk)
            owner.bytes += sent
            return sent

    class Handler(base):  # type: ignore[misc, valid-type]
        fault: Fault | None = None
        use_sendfile = False
        auth_failed_timeout = 0
        abstracted_fs = Files
        dtp_handler = Data
        proto_cmds = {name: told for name, told in base.proto_cmds.items() if name not in owner.without}  # noqa: RUF012

        def on_connect(self) -> None:
            owner.connections += 1

        def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
            owner.commands.append(f"{cmd} {'*' if cmd == 'PASS' else arg}".strip())
            super().pre_process_command(line, cmd, arg)

        def ftp_RETR(self, file: str) -> Any:  # noqa: N802  (the name that pyftpdlib looks for)
            self.fault = owner.faults.draw()
            if self.fault and self.fault.kind == "busy":
                self.respond("421 Too many users.")
                return self.close_when_done()
            if self.fault and self.fault.kind == "broken":
                return self.respond("425 Can't open data connection.")
            return super().ftp_RETR(file)

    Handler.authorizer = authorizer
    if private:
        Handler.certfile = str(owner.certificate)
        Handler.tls_control_required = Handler.tls_data_required = True
    return Handler
