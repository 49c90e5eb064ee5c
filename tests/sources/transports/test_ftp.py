import os
import socket
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from phenostream.errors import (
    BrokenTransferError,
    ForbiddenError,
    HostileError,
    NotFoundError,
    RecipeError,
    ThrottledError,
    UnreachableError,
)
from phenostream.formats import attach
from phenostream.sources import RemoteStore, TransportOptions, catalogs, open_store
from phenostream.sources.transports import ftp
from phenostream.synthetic import Design, write_archive
from phenostream.testing.servers import Fault, FtpServer
from phenostream.testing.transports import TransportExam

pytest.importorskip("pyftpdlib")


def store_at(server, **options):
    return RemoteStore(server.url, TransportOptions(**options), sleep=lambda _: None)


class TestFtp(TransportExam):
    @contextmanager
    def store_of(self, folder):
        with FtpServer(folder) as server:
            yield open_store(server.url)

    @contextmanager
    def broken_store_of(self, folder):
        with FtpServer(folder, [Fault("reset")]) as server:
            yield store_at(server)
            assert any(command.startswith("REST") for command in server.commands)


class TestFtpBelowAFolder(TransportExam):
    @contextmanager
    def store_of(self, folder):
        with FtpServer(folder.parent, user="me", password="p@ss:word/ü") as server:
            yield open_store(f"ftp://me:p%40ss%3Aword%2F%C3%BC@{server.address}/{folder.name}/")


class TestFtpWithoutNewerCommands(TransportExam):
    """A server of old, whose listings are for eyes and which tells no times."""

    @contextmanager
    def store_of(self, folder):
        with FtpServer(folder, without=["MLSD", "MLST", "EPSV", "MDTM"]) as server:
            yield open_store(server.url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    x509 = pytest.importorskip("cryptography.x509")
    pytest.importorskip("OpenSSL")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    ftp._trust.cache_clear()
    yield certificate
    ftp._trust.cache_clear()


class TestFtps(TransportExam):
    @pytest.fixture(autouse=True)
    def tls(self, trusted):
        self.certificate = trusted

    @contextmanager
    def store_of(self, folder):
        with FtpServer(folder, certificate=self.certificate, user="me", password="secret") as server:
            yield open_store(server.url, options=TransportOptions(user="me", password="secret"))

    @contextmanager
    def broken_store_of(self, folder):
        with FtpServer(folder, [Fault("reset")], certificate=self.certificate) as server:
            yield store_at(server)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a").write_bytes(b"content")
    return tmp_path / "served"


def test_a_certificate_nobody_vouches_for_is_refused(folder, certificate):
    ftp._trust.cache_clear()
    with FtpServer(folder, certificate=certificate) as server, pytest.raises(ForbiddenError, match="not trusted"):
        store_at(server).read("a")


def test_ftps_never_falls_back_to_plain_ftp(folder):
    with FtpServer(folder) as server, pytest.raises(ForbiddenError, match="TLS"):
        RemoteStore(f"ftps://{server.address}").read("a")
    assert not any(command.startswith("USER") for command in server.commands)


def test_a_wrong_password_is_refused_once_and_not_told(folder):
    with FtpServer(folder, user="me", password="right") as server, pytest.raises(ForbiddenError, match="530") as caught:
        RemoteStore(f"ftp://me:wrong@{server.address}", sleep=lambda _: None).read("a")
    assert server.commands.count("PASS *") == 1
    assert "wrong" not in str(caught.value)


def test_a_password_over_an_unprotected_line_elsewhere_is_refused():
    options = TransportOptions(user="me", password="secret")
    with pytest.raises(RecipeError, match="unprotected"):
        ftp.Transport("ftp://example.org/folder", options)
    ftp.Transport("ftp://example.org/folder", options.model_copy(update={"allow_http": True}))
    ftp.Transport("ftps://example.org/folder", options)
    ftp.Transport("ftp://me@example.org/folder", TransportOptions())


@pytest.mark.parametrize("base", ["ftp:///a", "ftp://host/a%0D%0ADELE%20b", "ftp://me%0Aother@host/a"])
def test_bases_that_cannot_be_meant(base):
    with pytest.raises(RecipeError):
        open_store(base).read("a")


@pytest.mark.parametrize("key", ["a\r\nDELE b", "a\nb", "a\x7f"])
def test_names_that_would_be_commands_are_refused(folder, key):
    with FtpServer(folder) as server, pytest.raises(HostileError, match="control"):
        store_at(server).read(key)
    assert server.commands == []


def test_a_name_that_looks_like_an_option(folder):
    (folder / "-R").mkdir()
    (folder / "-R" / "-a").write_bytes(b"dash")
    with FtpServer(folder) as server:
        store = store_at(server)
        assert store.read("-R/-a") == b"dash"
        assert list(store.keys("-R")) == ["-R/-a"]


def test_lines_are_kept(folder):
    with FtpServer(folder) as server:
        store = store_at(server)
        for _ in range(5):
            assert store.read("a", 2, 4) == b"nt"
            assert store.read("a") == b"content"
            with pytest.raises(NotFoundError):
                store.read("b")
        assert server.connections == 1


def test_a_line_that_was_closed_meanwhile_is_opened_again(folder, monkeypatch):
    monkeypatch.setattr(ftp, "_FRESH", -1.0)
    with FtpServer(folder) as server:
        store = store_at(server)
        assert store.read("a") == b"content"
        store._open()[0]._idle[0][1].sock.shutdown(socket.SHUT_RDWR)
        assert store.read("a") == b"content"
        assert (server.connections, store.traffic.retries) == (2, 0)


def test_a_short_range_of_a_long_file_costs_little(folder):
    (folder / "long").write_bytes(bytes(50 << 20))
    with FtpServer(folder) as server:
        store = store_at(server)
        assert store.read("long", 1000, 2000) == bytes(1000)
        assert store.read("a") == b"content"
        assert server.bytes < 8 << 20  # loopback buffers are generous; the whole file would be 50 MiB


@pytest.mark.parametrize(
    ("fault", "expected"), [(Fault("busy"), ThrottledError), (Fault("broken"), BrokenTransferError)]
)
def test_passing_faults_are_waited_for(folder, fault, expected):
    with FtpServer(folder, [fault]) as server:
        store = store_at(server)
        assert store.read("a") == b"content"
        assert store.traffic.retries == 1
    with FtpServer(folder, [fault] * 9) as server, pytest.raises(expected):
        store_at(server, tries=2).read("a")


def test_silence_is_a_stall(folder):
    with FtpServer(folder, [Fault("stall", seconds=5)]) as server:
        store = store_at(server, timeout=2)
        assert store.read("a") == b"content"
        assert store.traffic.retries >= 1


def test_a_change_is_noticed(folder):
    with FtpServer(folder) as server:
        transport = ftp.Transport(server.url, TransportOptions())
        with transport.fetch("a") as first:
            before = first.version
        (folder / "a").write_bytes(b"changed")
        os.utime(folder / "a", (1e9, 1e9))
        with transport.fetch("a") as second:
            assert second.version == "20010909014640"
            assert before > second.version


def test_a_change_behind_a_broken_transfer_starts_anew(folder):
    (folder / "a").write_bytes(bytes(200_000))
    with FtpServer(folder, [Fault("reset")]) as server:

        def change(_):
            (folder / "a").write_bytes(b"new" * 50_000)
            os.utime(folder / "a", (1e9, 1e9))

        assert RemoteStore(server.url, sleep=change).read("a") == b"new" * 50_000


def test_a_host_that_does_not_answer():
    with pytest.raises(UnreachableError, match="cannot be reached"):
        RemoteStore("ftp://127.0.0.1:9", TransportOptions(tries=2), sleep=lambda _: None).read("a")


def scripted(*answers):
    """A server that says fixed lines, one for each command, whatever the command is."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def serve():
        with suppress(OSError), listener, listener.accept()[0] as line, line.makefile("rb") as commands:
            for answer in answers:
                line.sendall(answer.encode() + b"\r\n")
                asked.append(commands.readline().decode().strip())

    threading.Thread(target=serve, daemon=True).start()
    return f"ftp://127.0.0.1:{listener.getsockname()[1]}", asked


LOGIN = ("220 hello", "331 who", "230 in", "200 type")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("421 Too many connections",), ThrottledError),
        (("220 hello", "530 Sorry, the maximum number of clients is connected"), ThrottledError),
        (("220 hello", "530 Not for you"), ForbiddenError),
        ((*LOGIN, "550 Permission denied."), ForbiddenError),
        ((*LOGIN, "550 Could not get file size."), NotFoundError),
        ((*LOGIN, "450 Busy"), BrokenTransferError),
        ((*LOGIN, "226 An answer to something else"), BrokenTransferError),
        ((*LOGIN, "213 twelve"), BrokenTransferError),
        ((*LOGIN, "213 9", "213 soon"), BrokenTransferError),
        ((*LOGIN, "213 9", "213 20200101000000", "522 No"), ForbiddenError),
        (("220-" + "\r\n220-".join(["without end"] * 3000),), BrokenTransferError),
        (("220 " + "x" * 10_000,), BrokenTransferError),
    ],
)
def test_answers_have_names(answers, expected):
    url, _ = scripted(*answers)
    with pytest.raises(expected, match=r"127\.0\.0\.1"):
        RemoteStore(url, TransportOptions(tries=1, timeout=60)).read("a")


def test_a_size_that_the_server_does_not_know(folder):
    with FtpServer(folder, without=["SIZE", "MDTM"]) as server:
        store = store_at(server)
        assert store.read("a") == b"content"
        assert store.read("a", 2, 4) == b"nt"
        with pytest.raises(NotFoundError):
            store.read("b")
        with pytest.raises(ValueError, match="length"):
            store_at(server).size("a")


def test_a_server_that_cannot_begin_in_the_middle(folder):
    with FtpServer(folder, without=["REST"]) as server:
        assert store_at(server).read("a", 2, 4) == b"nt"
        with pytest.raises(ValueError, match="ignores ranges"):
            store_at(server, largest_skip=1).read("a", 2, 4)


def test_circles_of_links_end(folder):
    (folder / "circle").symlink_to(".")
    (folder / "sub").mkdir()
    (folder / "sub" / "b c").write_bytes(b"")
    with FtpServer(folder) as server:
        assert {"a", "sub/b c"} <= set(store_at(server).keys())  # it follows links, but says what was there before
        assert len(list(store_at(server).keys())) < 7
    with FtpServer(folder, without=["MLSD"]) as server:
        assert list(store_at(server).keys()) == ["a", "sub/b c"]


def test_a_folder_that_is_not_there_cannot_be_listed(folder):
    with FtpServer(folder) as server, pytest.raises(NotFoundError):
        store_at(server).keys("nothing")


def test_a_plate_of_movies_is_read_over_ftp(tmp_path):
    design = Design(rows=1, columns=2, frames=2, shape=(96, 96), nuclei=4)
    archive = write_archive(tmp_path / "made", [design], layout="cellh5")
    with FtpServer(archive.root.parent) as server:
        settings = catalogs.parse(archive.source(f"{server.url}/{archive.root.name}"))
        store, near = open_store(catalogs.base(settings)), open_store(str(archive.root))
        fields = list(catalogs.units(settings, store))
        assert len(fields) == 4
        for field in fields:
            assert (attach(field, store).pixels() == attach(field, near).pixels()).all()
