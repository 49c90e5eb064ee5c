import hashlib
import os
import pickle
import random
import threading
import time

import pytest

from phenostream.errors import (
    BrokenTransferError,
    ChangedError,
    DamagedError,
    DiskFullError,
    NotFoundError,
    RecipeError,
    ThrottledError,
    TooLargeError,
    UnreachableError,
)
from phenostream.sources import LocalStore, RemoteStore, TransportOptions, download, open_store
from phenostream.sources.limits import Gate, wait_after
from phenostream.testing.servers import Fault, Faults, FaultyServer

WHOLE = random.Random(1).randbytes(400_000)
KEY = "plate/A01.tif"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files" / "plate").mkdir(parents=True)
    (tmp_path / "files" / KEY).write_bytes(WHOLE)
    return tmp_path / "files"


class Waits(list):
    def __call__(self, seconds):
        self.append(seconds)


def store(server, waits=None, **options):
    return RemoteStore(server.url, TransportOptions(**options), sleep=Waits() if waits is None else waits)


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "kind", ["reset", "busy", "broken", "wrong-length", "etag", "ignore-range", "wrong-range", "flip"]
)
def test_a_whole_read_survives_every_fault(folder, kind):
    with FaultyServer(folder, [Fault(kind)]) as server:
        assert store(server).read(KEY) == WHOLE
    assert server.requests <= 3


@pytest.mark.parametrize("kind", ["reset", "busy", "broken", "wrong-length", "etag", "ignore-range", "wrong-range"])
def test_a_range_survives_every_fault(folder, kind):
    with FaultyServer(folder, [Fault(kind)]) as server:
        assert store(server).read(KEY, 1000, 91_000) == WHOLE[1000:91_000]
    assert server.requests <= 3


@pytest.mark.parametrize("kind", ["reset", "flip", "wrong-length", "etag", "stall"])
def test_a_download_survives_every_fault(folder, tmp_path, kind):
    with FaultyServer(folder, [Fault(kind, seconds=5)]) as server:
        digest = download(store(server, timeout=2), KEY, tmp_path / "new.tif")
    assert (tmp_path / "new.tif").read_bytes() == WHOLE
    assert (digest.sha256, digest.bytes) == (sha(WHOLE), len(WHOLE))


def test_a_stalled_transfer_is_continued(folder):
    with FaultyServer(folder, [Fault("stall", seconds=5)]) as server:
        one = store(server, timeout=2)
        assert one.read(KEY) == WHOLE
    assert 0 < int(server.visits[1].range.removeprefix("bytes=").rstrip("-")) <= 200_000
    assert one.traffic.bytes <= 1.3 * len(WHOLE)


def test_a_resumed_read_asks_only_for_the_rest_of_the_same_version(folder):
    with FaultyServer(folder, [Fault("reset", after=200_000)]) as server:
        one = store(server)
        assert one.read(KEY) == WHOLE
    assert one.traffic.bytes == len(WHOLE)
    assert one.traffic.retries == 1
    first = int(server.visits[1].range.removeprefix("bytes=").rstrip("-"))
    assert 0 < first <= 200_000


def test_a_file_that_changes_while_it_is_read_is_begun_anew(folder):
    new = random.Random(2).randbytes(390_000)

    class Changing(FaultyServer):
        def answer(self, method, key, headers):
            if self.requests == 1:
                (folder / KEY).write_bytes(new)
            return super().answer(method, key, headers)

    with Changing(folder, [Fault("reset")]) as server:
        assert store(server).read(KEY) == new


def test_a_file_that_keeps_changing_is_an_error(folder):
    class Restless(FaultyServer):
        def answer(self, method, key, headers):
            answer = super().answer(method, key, headers)
            answer.headers["ETag"] = f'"{self.requests}"'
            return answer

    with (
        Restless(folder, Faults(rates={Fault("reset"): 1.0})) as server,
        pytest.raises(ChangedError, match="keeps changing"),
    ):
        store(server, restarts=2).read(KEY)
    assert server.requests <= 6


def test_terminal_errors_are_not_tried_again(folder):
    waits = Waits()
    with FaultyServer(folder) as server, pytest.raises(NotFoundError, match=r"nothing\.tif"):
        store(server, waits).read("nothing.tif")
    assert (server.requests, waits) == (1, [])


def test_tries_are_bounded(folder):
    waits = Waits()
    with FaultyServer(folder, [Fault("broken")] * 20) as server, pytest.raises(BrokenTransferError) as caught:
        store(server, waits, tries=4).read(KEY)
    assert (server.requests, len(waits)) == (4, 3)
    assert caught.value.place == "tries 4"


def test_tries_with_progress_do_not_count(folder):
    with FaultyServer(folder, [Fault("reset", after=65_536)] * 5) as server:
        assert store(server, tries=2, progress=10_000).read(KEY) == WHOLE
    assert server.requests >= 3


def test_retry_after_is_honoured(folder):
    waits = Waits()
    with FaultyServer(folder, [Fault("busy", seconds=7)]) as server:
        assert store(server, waits).read(KEY) == WHOLE
    assert len(waits) == 1
    assert waits[0] >= 7


def test_too_long_a_retry_after_goes_up(folder):
    with FaultyServer(folder, [Fault("busy", seconds=900)]) as server, pytest.raises(ThrottledError) as caught:
        store(server, patience=60).read(KEY)
    assert caught.value.retry_after == 900
    assert server.requests == 1


def test_a_wait_may_be_broken_off(folder):
    class StoppedError(Exception):
        pass

    def stop(_):
        raise StoppedError

    with FaultyServer(folder, [Fault("busy", seconds=100)]) as server, pytest.raises(StoppedError):
        open_store(server.url, sleep=stop).read(KEY)


def test_back_off_grows_with_full_jitter():
    rng = random.Random(0)
    options = TransportOptions(backoff=1.0, longest_wait=10.0)
    waits = [[wait_after(BrokenTransferError(""), n, options, rng) for _ in range(300)] for n in (1, 2, 3, 9)]
    for drawn, ceiling in zip(waits, (1, 2, 4, 10), strict=True):
        assert 0 <= min(drawn) < 0.1 * ceiling
        assert 0.9 * ceiling < max(drawn) <= ceiling


def test_a_server_that_ignores_ranges_is_read_only_as_far_as_needed(folder):
    with FaultyServer(folder, [Fault("ignore-range")]) as server:
        one = store(server)
        assert one.read(KEY, 10, 20) == WHOLE[10:20]
    assert one.traffic.bytes < len(WHOLE) / 2


def test_a_server_that_ignores_ranges_may_not_waste_without_bound(folder):
    with FaultyServer(folder, [Fault("ignore-range")]) as server, pytest.raises(TooLargeError, match="ignores ranges"):
        store(server, largest_skip=1000).read(KEY, 300_000, 300_010)


def test_a_read_over_the_limit_is_refused_before_it_moves(folder):
    with FaultyServer(folder) as server:
        one = store(server, largest_read=1000)
        with pytest.raises(TooLargeError, match="largest_read"):
            one.read(KEY)
        assert one.read(KEY, 0, 1000) == WHOLE[:1000]
    assert one.traffic.bytes <= 1000


def test_wrong_bytes_twice_alike_mean_that_the_etag_is_no_hash(folder):
    with FaultyServer(folder, [Fault("flip", after=5)] * 2) as server:
        one = store(server)
        assert one.read(KEY) != WHOLE
        assert one.read(KEY) == WHOLE
    assert server.requests == 3


def test_where_etags_were_hashes_wrong_bytes_are_not_believed_twice(folder):
    with FaultyServer(folder, [None, Fault("flip", after=5), Fault("flip", after=5)]) as server:
        one = store(server)
        assert one.read(KEY) == WHOLE
        assert one.read(KEY) == WHOLE
    assert server.requests == 4


def test_one_connection_serves_many_reads(folder):
    with FaultyServer(folder) as server:
        one = store(server)
        for start in range(0, 400_000, 50_000):
            one.read(KEY, start, start + 100)
            one.read(KEY)
        assert (server.requests, server.connections) == (16, 1)


def test_hosts_that_do_not_answer():
    waits = Waits()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        RemoteStore("http://127.0.0.1:9", TransportOptions(tries=2), sleep=waits).read("a")
    assert len(waits) == 1
    with pytest.raises(UnreachableError, match=r"nowhere\.invalid"):
        RemoteStore("http://nowhere.invalid", TransportOptions(tries=1)).read("a")


def test_sizes_are_asked_once(folder):
    with FaultyServer(folder) as server:
        one = store(server)
        assert one.size(KEY) == one.size(KEY) == len(WHOLE)
        assert server.requests == 1
        other = store(server)
        other.read(KEY, 0, 10)
        assert other.size(KEY) == len(WHOLE)
        assert server.requests == 2


def test_one_host_sees_only_so_many_transfers_at_once(folder):
    class Counting(FaultyServer):
        now = most = 0
        lock = threading.Lock()

        def answer(self, *args):
            with self.lock:
                self.now += 1
                Counting.most = max(self.most, self.now)
            time.sleep(0.02)
            with self.lock:
                self.now -= 1
            return super().answer(*args)

    with Counting(folder) as server:
        stores = [store(server, connections=2) for _ in range(3)]
        threads = [threading.Thread(target=one.read, args=(KEY, 0, 10)) for one in stores for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.most == 2


def test_the_rate_is_kept():
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    gate = Gate(1, rate=1000)
    for _ in range(10):
        gate.spend(500, lambda: now[0], sleep)
    assert now[0] == pytest.approx(5.0)


def test_a_store_reads_in_a_forked_process(folder):
    with FaultyServer(folder) as server:
        one = store(server)
        one.read(KEY, 0, 10)
        child = os.fork()
        if child == 0:
            os._exit(0 if one.read(KEY, 5, 10) == WHOLE[5:10] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_stores_travel_without_their_connections(folder):
    with FaultyServer(folder) as server:
        one = store(server, tries=2)
        one.read(KEY, 0, 10)
        twin = pickle.loads(pickle.dumps(one))
        assert twin.read(KEY, 0, 10) == WHOLE[:10]
        assert twin.options == one.options
        assert twin.traffic.requests == 1


def test_a_range_must_be_one(folder):
    for span in ((-1, 5), (5, 4)):
        with pytest.raises(RecipeError, match="range"):
            LocalStore(folder).read(KEY, *span)


def test_a_download_with_the_wrong_hash_leaves_nothing(folder, tmp_path):
    target = tmp_path / "out" / "a.tif"
    with pytest.raises(DamagedError, match="expected"):
        download(open_store(str(folder)), KEY, target, sha256="0" * 64)
    assert list(target.parent.iterdir()) == []
    download(open_store(str(folder)), KEY, target, sha256=sha(WHOLE).upper())


def test_a_failed_download_leaves_what_was_there(folder, tmp_path):
    target = tmp_path / "out" / "a.tif"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with FaultyServer(folder, [Fault("reset")] * 9) as server, pytest.raises(BrokenTransferError):
        download(store(server, tries=2), KEY, target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in target.parent.iterdir()] == ["a.tif"]


def test_a_part_may_be_downloaded(folder, tmp_path):
    digest = download(open_store(str(folder)), KEY, tmp_path / "part", span=(100, 200))
    assert digest == type(digest)(sha(WHOLE[100:200]), 100)


def test_a_full_disk_is_named(folder, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="No space"):
        download(open_store(str(folder)), KEY, tmp_path / "out" / "a")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bad_network_costs_little_and_changes_nothing(tmp_path):
    """Resets, stalls, wrong bytes, 503, false lengths and ETags at the rates of the reliability figures."""
    folder = tmp_path / "many"
    folder.mkdir()
    rng = random.Random(3)
    for number in range(150):
        (folder / f"{number}.bin").write_bytes(rng.randbytes(100_000))
    rates = {
        Fault("reset"): 0.05,
        Fault("stall", seconds=3): 0.05,
        Fault("flip"): 0.02,
        Fault("busy", seconds=1): 0.02,
        Fault("wrong-length"): 0.02,
        Fault("etag"): 0.02,
    }
    with FaultyServer(folder, Faults(rates=rates, rng=random.Random(4))) as server:
        one = store(server, timeout=1)
        for path in sorted(folder.iterdir()):
            digest = download(one, path.name, tmp_path / "out" / path.name)
            assert digest.sha256 == sha(path.read_bytes())
    assert {fault.kind for fault in server.faults.met} == {fault.kind for fault in rates}
    assert server.bytes <= 1.3 * 150 * 100_000
