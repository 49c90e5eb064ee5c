"""Depots: what is put there arrives whole and proven, or a named error says why not."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from phenostream.errors import BrokenTransferError, ForbiddenError, HostileError, NotFoundError, RecipeError
from phenostream.sources import TransportOptions
from phenostream.sources.depots import LocalDepot, RemoteDepot, is_url, open_depot
from phenostream.testing.servers import Fault, Faults, S3Server

_numbers = count()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    pytest.importorskip("moto")
    with S3Server({"bucket": tmp_path_factory.mktemp("empty")}) as server:
        yield server


@pytest.fixture
def remote(service: S3Server) -> RemoteDepot:
    service.faults = Faults()
    options = TransportOptions(
        endpoint=service.endpoint, access_key_id="testing", secret_access_key="testing", backoff=0, tries=3
    )
    depot = open_depot(f"s3://bucket/prefix-{next(_numbers)}", options=options)
    assert isinstance(depot, RemoteDepot)
    return depot


@pytest.fixture(params=["remote", "local"])
def depot(request: pytest.FixtureRequest, tmp_path: Path) -> LocalDepot | RemoteDepot:
    made = open_depot(str(tmp_path / "share")) if request.param == "local" else request.getfixturevalue("remote")
    assert isinstance(made, LocalDepot | RemoteDepot)
    return made


def test_what_is_put_is_read_listed_replaced_and_deleted(depot: LocalDepot | RemoteDepot, tmp_path: Path) -> None:
    assert depot.is_empty()
    depot.put("parts/ab/one", b"first")
    assert depot.read("parts/ab/one") == b"first"
    file = tmp_path / "file"
    file.write_bytes(os.urandom(100_000))
    depot.put("parts/ab/one", file)
    depot.put("two", b"")
    assert depot.read("parts/ab/one") == file.read_bytes()
    assert depot.size("parts/ab/one") == 100_000
    assert (sorted(depot.keys()), list(depot.keys("parts"))) == (["parts/ab/one", "two"], ["parts/ab/one"])
    assert not depot.is_empty()
    depot.delete(["parts/ab/one", "two"])
    depot.delete(["two", "never-there"])
    depot.delete(["never-there"])
    assert (depot.is_empty(), list(depot.keys()), list(depot.keys("parts"))) == (True, [], [])


def test_a_large_file_goes_in_several_parts_and_is_read_back(remote: RemoteDepot, tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    file.write_bytes(os.urandom(12 << 20))
    remote.put("ledger.db", file)
    assert remote.traffic.bytes == 12 << 20
    assert remote.read("ledger.db") == file.read_bytes()


def test_a_depot_survives_pickling(depot: LocalDepot | RemoteDepot) -> None:
    depot.put("one", b"1")
    again = pickle.loads(pickle.dumps(depot))
    assert again.read("one") == b"1"
    again.put("two", b"2")
    assert depot.read("two") == b"2"


@pytest.mark.parametrize("below", ["", "study"])
def test_nothing_is_written_behind_a_share_that_is_gone(tmp_path: Path, below: str) -> None:
    """Unmounted, an empty folder stays where the share was."""
    (tmp_path / "mnt" / "share").mkdir(parents=True)
    depot = LocalDepot(str(tmp_path / "mnt" / "share" / below))
    depot.put("one", b"1")
    (tmp_path / "mnt" / "share").rename(tmp_path / "away")
    (tmp_path / "mnt" / "share").mkdir()
    with pytest.raises(NotFoundError, match="mounted"):
        depot.put("two", b"2")
    assert not list((tmp_path / "mnt" / "share").iterdir())
    (tmp_path / "mnt" / "share").rmdir()
    (tmp_path / "away").rename(tmp_path / "mnt" / "share")
    depot.put("two", b"2")
    assert depot.read("two") == b"2"


def test_keys_stay_inside(depot: LocalDepot | RemoteDepot) -> None:
    for key in ("../out", "/etc/out", "a/../../out", ""):
        with pytest.raises(HostileError):
            depot.put(key, b"1")
        with pytest.raises(HostileError):
            depot.delete([key])


def test_an_etag_that_is_the_md5_proves_what_was_stored(remote: RemoteDepot) -> None:
    remote.put("one", b"some bytes")
    assert (remote.traffic.requests, remote.traffic.bytes) == (1, 0)


@pytest.mark.parametrize("kind", ["busy", "broken"])
def test_transient_errors_are_tried_again(remote: RemoteDepot, service: S3Server, kind: str) -> None:
    service.faults = Faults([Fault(kind), Fault(kind)])  # type: ignore[arg-type]
    remote.put("one", b"1")
    assert (remote.read("one"), remote.traffic.retries) == (b"1", 2)


def test_a_bit_that_flips_on_the_way_is_noticed_and_put_again(remote: RemoteDepot, service: S3Server) -> None:
    service.faults = Faults([Fault("flip")])
    remote.put("one", b"some bytes")
    assert remote.read("one") == b"some bytes"
    service.faults = Faults(rates={Fault("flip"): 1.0})
    with pytest.raises(BrokenTransferError, match="has stored other bytes"):
        remote.put("one", b"some bytes")


def test_what_no_etag_proves_is_read_back(remote: RemoteDepot, service: S3Server) -> None:
    service.faults = Faults([Fault("etag")])
    remote.put("one", b"some bytes")
    assert (remote.traffic.bytes, remote.traffic.retries) == (10, 0)


def test_terminal_errors_are_not_tried_again(remote: RemoteDepot, service: S3Server) -> None:
    service.faults = Faults([Fault("forbidden")])
    with pytest.raises(ForbiddenError, match="credentials"):
        remote.put("one", b"1")
    gone = open_depot("s3://no-such-bucket/prefix", options=remote.options)
    with pytest.raises(NotFoundError, match="check bucket"):
        gone.put("one", b"1")
    with pytest.raises(NotFoundError, match="check bucket"):
        gone.is_empty()
    assert (remote.traffic.requests, gone.traffic.requests) == (1, 2)


def test_a_share_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="mounted"):
        open_depot(str(tmp_path / "mnt" / "share")).put("one", b"1")
    assert not (tmp_path / "mnt").exists()


def test_a_folder_shows_no_half_file_and_is_as_readable_as_its_folder(tmp_path: Path) -> None:
    depot = open_depot(str(tmp_path / "share"))
    with pytest.raises(FileNotFoundError):
        depot.put("parts/one", tmp_path / "absent")
    assert list(depot.keys()) == []
    depot.put("parts/one", b"1")
    folder = tmp_path / "share" / "parts"
    assert (folder / "one").stat().st_mode & 0o777 == folder.stat().st_mode & 0o666


def test_other_schemes_are_refused() -> None:
    for base in ("https://example.org/x", "ftp://example.org/x"):
        with pytest.raises(RecipeError, match="cannot be written"):
            open_depot(base)


def test_urls_are_known_also_where_a_path_has_taken_a_slash() -> None:
    assert is_url("s3://bucket/a") == is_url(Path("s3://bucket/a")) == "s3://bucket/a"
    assert is_url("gs://bucket") == "gs://bucket"
    assert [is_url(text) for text in ("s3", "/s3:/x", "runs/s3://x", "https://x")] == [""] * 4
