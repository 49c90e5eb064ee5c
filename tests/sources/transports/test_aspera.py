import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from phenostream.errors import (
    BrokenTransferError,
    DamagedError,
    DiskFullError,
    ForbiddenError,
    HostileError,
    MissingExtraError,
    NotFoundError,
    RecipeError,
    TooLargeError,
    UnreachableError,
)
from phenostream.formats import attach
from phenostream.sources import RemoteStore, TransportOptions, catalogs, open_store
from phenostream.sources.transports.aspera import Transport
from phenostream.synthetic import Design, write_archive
from phenostream.testing.servers import StandInAscp
from phenostream.testing.transports import TransportExam

BASE = "aspera://fasp-public@fasp.example.org"


class Shop:
    """A stand-in, its archive and its scratch folder."""

    def __init__(self, folder, home, deeds=()):
        self.folder = folder
        self.ascp = StandInAscp(folder, home / "ascp", deeds)
        self.scratch = home / "scratch"

    def store(self, base=BASE, **options):
        chosen = {"ascp": self.ascp.program, "scratch": str(self.scratch)} | options
        return RemoteStore(base, TransportOptions(**chosen), sleep=lambda _: None)

    @property
    def left(self):
        return [path for path in self.scratch.rglob("*") if path.is_file()] if self.scratch.exists() else []


class TestAspera(TransportExam):
    lists = False

    @contextmanager
    def store_of(self, folder):
        yield Shop(folder, folder.parent).store()

    @contextmanager
    def broken_store_of(self, folder):
        shop = Shop(folder, folder.parent, [{"after": 150_000, "status": 1}])
        yield shop.store()
        assert [(run["start"], run["moved"]) for run in shop.ascp.runs] == [(0, 150_000), (150_000, 150_000)]


class TestAsperaBelowAFolder(TransportExam):
    lists = False

    @contextmanager
    def store_of(self, folder):
        yield Shop(folder.parent, folder.parent / "home").store(f"fasp://me@host:22/{folder.name}/")

    @pytest.fixture(autouse=True)
    def home(self, tmp_path):
        (tmp_path / "home").mkdir()


@pytest.fixture
def shop(tmp_path):
    def made(*deeds):
        (tmp_path / "served" / "sub").mkdir(parents=True)
        (tmp_path / "served" / "a").write_bytes(bytes(range(256)) * 4000)
        (tmp_path / "served" / "sub" / "b").write_bytes(b"content")
        return Shop(tmp_path / "served", tmp_path, deeds)

    return made


WHOLE = bytes(range(256)) * 4000


def test_the_arguments_are_a_list_that_no_shell_reads(shop, tmp_path):
    (tmp_path / "key").touch()
    one = shop()
    one.store(f"{BASE}:22001/sub", key_file=str(tmp_path / "key"), target_rate="40m").read("b")
    (run,) = one.ascp.runs
    *options, source, target = run["arguments"]
    assert options == f"-T -Q -l 40m -P 22001 -k 1 -L- -i {tmp_path / 'key'}".split()
    assert source == "fasp-public@fasp.example.org:/sub/b"
    assert Path(target).is_relative_to(one.scratch)
    assert run["password"] is None


def test_the_defaults_are_those_of_public_archives(shop):
    one = shop()
    one.store().read("sub/b")
    assert one.ascp.runs[0]["arguments"][:-2] == ["-T", "-Q", "-l", "500m", "-P", "33001", "-k", "1", "-L-"]


@pytest.mark.parametrize("how", ["option", "url"])
def test_the_password_goes_through_the_environment_only(shop, how):
    one = shop({"says": "ascp: failed to authenticate, exiting."})
    store = one.store(password="s3cret") if how == "option" else one.store(BASE.replace("@", ":s3cret@"))
    with pytest.raises(ForbiddenError) as caught:
        store.read("sub/b")
    assert "s3cret" not in str(caught.value)
    store.read("sub/b")
    assert [run["password"] for run in one.ascp.runs] == ["s3cret", "s3cret"]
    assert not any("s3cret" in word for run in one.ascp.runs for word in run["arguments"])
    assert "s3cret" not in repr(store)
    assert "ASPERA_SCP_PASS" not in os.environ


def test_many_parts_of_a_file_cost_one_transfer(shop):
    one = shop()
    store = one.store()
    assert store.size("a") == len(WHOLE)
    spans = [(start, start + 1000) for start in range(0, 1_000_000, 50_000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda span: store.read("a", *span), spans)) == [WHOLE[a:b] for a, b in spans]
    assert len(one.ascp.runs) == 1


def test_nothing_with_a_name_is_left(shop):
    one = shop()
    store = one.store()
    store.read("a")
    assert one.left == []
    del store
    assert list(one.scratch.iterdir()) == []


def test_the_scratch_holds_the_latest_files_within_its_limit(shop):
    one = shop()
    for name in "cde":
        (one.folder / name).write_bytes(name.encode() * 600_000)
    store = one.store(largest_scratch=1_300_000)
    for name in "cdcedc":
        assert store.read(name, 10, 12) == name.encode() * 2
    assert [run["arguments"][-2][-1] for run in one.ascp.runs] == ["c", "d", "e", "d", "c"]


def test_a_file_over_the_limit_is_refused(shop):
    one = shop({"after": 700_000, "hang": 300})
    start = time.monotonic()
    with pytest.raises(TooLargeError, match="largest_scratch"):
        one.store(largest_scratch=600_000).read("a")
    assert time.monotonic() - start < 150, "the program was waited for"
    with pytest.raises(TooLargeError, match="largest_scratch"):
        one.store(largest_scratch=600_000).read("a")
    assert one.left == []


def test_silence_ends_the_program(shop):
    one = shop({"after": 400_000, "hang": 300})
    start = time.monotonic()
    assert one.store(timeout=3).read("a") == WHOLE
    assert time.monotonic() - start < 150, "the program was waited for"
    assert one.ascp.runs[1]["start"] == 400_000


def test_a_slow_transfer_is_not_a_stall(shop):
    one = shop({"pause": 0.5})
    (one.folder / "slow").write_bytes(bytes(12 << 20))
    assert len(one.store(timeout=4).read("slow")) == 12 << 20  # takes six seconds, and is never still for four
    assert len(one.ascp.runs) == 1


def test_a_short_file_is_noticed_whatever_the_exit_status(shop):
    one = shop({"after": 1000})
    store = one.store()
    assert store.read("a") == WHOLE
    assert store.traffic.retries == 1
    assert [run["start"] for run in one.ascp.runs] == [0, 0]


def test_a_file_that_is_always_short_is_given_up(shop):
    one = shop({"after": 1000}, {"after": 1000})
    with pytest.raises(BrokenTransferError, match="1000 bytes arrived, ascp announced 1024000"):
        one.store(tries=2).read("a")


def test_the_sum_at_the_end_will_do(shop):
    told = ["Completed: 1000K bytes transferred in 0 seconds", " (0K bits/sec), in 1 file."]
    one = shop({"quietly": told}, {"quietly": told, "after": 5000})
    assert one.store().read("a") == WHOLE
    with pytest.raises(BrokenTransferError, match="5000 bytes"):
        one.store(tries=1).read("a")


def test_a_length_that_is_not_told_is_no_length(shop):
    one = shop({"quietly": ["done"]})
    with pytest.raises(DamagedError, match="how long"):
        one.store().read("a")
    assert len(one.ascp.runs) == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("ascp: Server aborted session: No such file or directory, exiting.", NotFoundError),
        ("ascp: failed to authenticate, exiting.", ForbiddenError),
        ("ascp: Failed to open TCP connection for SSH, exiting.", UnreachableError),
        ("ascp: could not resolve host name", UnreachableError),
        ("ascp: Data transfer timeout, exiting.", BrokenTransferError),
        ("", BrokenTransferError),
    ],
)
@pytest.mark.parametrize("status", [1, 70])
def test_failures_have_names(shop, said, expected, status):
    one = shop(*[{"says": said, "status": status}] * 5)
    with pytest.raises(expected, match=f"aspera://fasp.example.org/a.*status {status}"):
        one.store(tries=2).read("a")
    assert len(one.ascp.runs) == (2 if expected.transient else 1)
    assert (one.left == []) or expected.transient


def test_success_without_a_file_is_no_success(shop):
    one = shop({"says": "all well", "status": 0})
    with pytest.raises(NotFoundError, match="no file"):
        one.store().read("a")


@pytest.mark.parametrize("deed", [{}, {"hang": 300}])
def test_a_folder_is_no_file_and_stopped_early(shop, deed):
    one = shop(deed)
    start = time.monotonic()
    with pytest.raises(NotFoundError, match="folder"):
        one.store().read("sub")
    assert time.monotonic() - start < 150, "the program was waited for"
    assert one.left == []


def test_a_scratch_that_cannot_be_written_is_named(shop, tmp_path):
    one = shop()
    with pytest.raises(DiskFullError, match="scratch"):
        one.store(scratch=str(tmp_path / "served" / "a" / "scratch")).read("a")


def test_a_full_disk_is_named(shop):
    one = shop({"says": "ascp: Error writing file: No space left on device, exiting."})
    with pytest.raises(DiskFullError):
        one.store().read("a")


def test_a_program_that_does_not_run_is_named(shop):
    one = shop()
    Path(one.ascp.program).write_bytes(b"\x7fELF and then nothing")
    with pytest.raises(MissingExtraError, match="cannot be run"):
        one.store().read("a")


@pytest.mark.parametrize(
    "key", ["-rf", "sub/-x", "a\nb", "a*", "b?", "a[1]", "$(touch x)", "`x`", "a;b", 'a"b', "a'b", "a|b"]
)
def test_names_that_ascp_would_misread_are_refused(shop, key):
    one = shop()
    with pytest.raises(HostileError, match="misread"):
        one.store().read(key)
    assert one.ascp.runs == []


@pytest.mark.parametrize(
    "base", ["aspera://host/a", "aspera:///a", "aspera://-oProxy@host/", "aspera://me@-x/", f"{BASE}/a/../b"]
)
def test_bases_that_cannot_be_meant(base):
    with pytest.raises(RecipeError):
        open_store(base, options=TransportOptions(ascp="true")).read("a")


@pytest.mark.parametrize("rate", ["fast", "500 m", "-1", "500m -L /tmp", ""])
def test_rates_are_rates(rate):
    with pytest.raises(ValueError, match="target_rate"):
        TransportOptions(target_rate=rate)


def test_a_key_that_is_not_there_is_told_before(shop):
    with pytest.raises(RecipeError, match="key file"):
        shop().store(key_file="/nowhere/key").read("a")


def test_the_program_is_looked_for(shop, monkeypatch):
    program = Path(shop().ascp.program)
    monkeypatch.delenv("ASPERA_SCP", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingExtraError, match="ASPERA_SCP"):
        open_store(BASE).read("a")
    monkeypatch.setenv("PATH", str(program.parent))
    assert Transport(BASE, TransportOptions()).arguments("a", "b")[0] == str(program)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("ASPERA_SCP", str(program))
    assert Transport(BASE, TransportOptions()).arguments("a", "b")[0] == str(program)
    with pytest.raises(MissingExtraError, match="/nowhere/ascp"):
        Transport(BASE, TransportOptions(ascp="/nowhere/ascp"))


def test_a_file_fetched_again_is_the_same_while_it_is_the_same(shop):
    one = shop()
    versions = [one.store().arrive("a").version for _ in range(2)]
    (one.folder / "a").write_bytes(b"other")
    assert versions[0] == versions[1] != one.store().arrive("a").version


def test_another_process_fetches_for_itself(shop):
    one = shop()
    store = one.store()
    store.read("a")
    again = pickle.loads(pickle.dumps(store))
    again._sleep = lambda _: None
    assert again.read("a") == store.read("a") == WHOLE
    assert len(one.ascp.runs) == 2


def test_a_plate_of_movies_is_read_through_aspera(tmp_path):
    design = Design(rows=1, columns=2, frames=2, shape=(96, 96), nuclei=4)
    archive = write_archive(tmp_path / "made", [design], layout="cellh5")
    shop = Shop(archive.root.parent, tmp_path)
    settings = catalogs.parse(archive.source(f"{BASE}:33001/{archive.root.name}"))
    store, near = shop.store(catalogs.base(settings)), open_store(str(archive.root))
    fields = list(catalogs.units(settings, store))
    for field in fields:
        assert (attach(field, store).pixels() == attach(field, near).pixels()).all()
    assert (len(fields), len(shop.ascp.runs)) == (4, 2)
