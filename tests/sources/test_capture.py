import hashlib
import json
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenostream.errors import (
    DamagedError,
    HostileError,
    NotCapturedError,
    NotFoundError,
    OverBudgetError,
    StepError,
    UnsettledError,
)
from phenostream.sources import Blob, CapturedStore, CapturingStore, LocalStore, MetadataCache, RemoteStore
from phenostream.testing.servers import Fault, FaultyServer
from phenostream.values import Store

BLOB = random.Random(0).randbytes(1000)


class Memory:
    """A store of a dictionary that remembers what it was asked."""

    def __init__(self, **blobs):
        self.blobs = {name.replace("_", "/"): data for name, data in blobs.items()}
        self.asked = []
        self.version = "1"

    def arrive(self, key, start=0, stop=None):
        self.asked.append((key, start, stop))
        if key not in self.blobs:
            raise NotFoundError(f"no {key}")
        data = self.blobs[key]
        return Blob(data[start:stop], len(data), self.version)

    def read(self, key, start=0, stop=None):
        return self.arrive(key, start, stop).data

    def size(self, key):
        return self.arrive(key, 0, 0).size

    def keys(self, prefix=""):
        return iter(sorted(key for key in self.blobs if key.startswith(prefix)))


@pytest.fixture
def memory():
    return Memory(a_b=BLOB, small=b"{}", empty=b"")


def test_what_was_read_can_be_read_again_without_the_source(memory, tmp_path):
    capture = CapturingStore(memory, tmp_path / "unit")
    assert isinstance(capture, Store)
    assert capture.read("a/b", 100, 300) == BLOB[100:300]
    assert capture.read("small") == b"{}"
    assert capture.read("empty") == b""
    assert capture.size("a/b") == 1000
    sealed = capture.seal()
    captured = pickle.loads(pickle.dumps(CapturedStore(sealed.folder)))
    assert isinstance(captured, Store)
    assert captured.read("a/b", 150, 250) == BLOB[150:250]
    assert captured.read("small") == captured.read("small", 0, 99) == b"{}"
    assert captured.read("empty") == b""
    assert captured.size("a/b") == 1000
    assert captured.digest == sealed.digest


def test_every_byte_is_granted_once_before_it_is_written(memory, tmp_path):
    granted = []

    def grant(count):
        held = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert held == sum(granted)
        granted.append(count)

    capture = CapturingStore(memory, tmp_path, grant=grant)
    capture.read("a/b", 0, 100)
    capture.read("a/b", 50, 200)
    capture.read("a/b", 10, 180)
    capture.read("empty")
    assert granted == [100, 100]
    sealed = capture.seal()
    assert sum(granted) == sealed.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sealed.keys == 1


def test_a_refused_grant_writes_nothing(memory, tmp_path):
    def refuse(_):
        raise OverBudgetError("too much")

    capture = CapturingStore(memory, tmp_path / "unit", grant=refuse)
    with pytest.raises(OverBudgetError):
        capture.read("a/b")
    assert list((tmp_path / "unit").iterdir()) == []


def test_only_what_is_missing_is_fetched(memory, tmp_path):
    capture = CapturingStore(memory, tmp_path)
    capture.read("a/b", 100, 200)
    memory.asked.clear()
    assert capture.read("a/b", 50, 250) == BLOB[50:250]
    assert capture.read("a/b") == BLOB
    assert capture.read("a/b", 990, 2000) == BLOB[990:]
    assert capture.read("a/b", 2000, 3000) == b""
    assert memory.asked == [("a/b", 50, 250), ("a/b", 0, 1000)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reads=st.lists(st.tuples(st.integers(0, 40), st.one_of(st.none(), st.integers(0, 50))), min_size=1, max_size=12),
    again=st.tuples(st.integers(0, 40), st.one_of(st.none(), st.integers(0, 50))),
)
def test_captures_answer_like_slices_or_not_at_all(tmp_path_factory, reads, again):
    data = bytes(range(40))
    folder = tmp_path_factory.mktemp("capture")
    capture = CapturingStore(Memory(blob=data), folder)
    covered = set()
    spans = [(start, None if stop is None else max(start, stop)) for start, stop in reads]
    for start, stop in spans:
        assert capture.read("blob", start, stop) == data[start:stop]
        covered |= set(range(40)[start:stop])
    captured = CapturedStore(capture.seal().folder)
    for start, stop in spans:
        assert captured.read("blob", start, stop) == data[start:stop]
    start, stop = again[0], None if again[1] is None else max(again)
    try:
        assert captured.read("blob", start, stop) == data[start:stop]
    except NotCapturedError:
        assert not set(range(40)[start:stop]) <= covered


def test_absent_keys_stay_absent_and_strange_ones_are_told_apart(memory, tmp_path):
    capture = CapturingStore(memory, tmp_path)
    for ask in (capture.read, capture.size):
        with pytest.raises(NotFoundError):
            ask("zarr.json")
    captured = CapturedStore(capture.seal().folder)
    with pytest.raises(NotFoundError, match="did not exist") as caught:
        captured.read("zarr.json")
    assert not isinstance(caught.value, NotCapturedError)
    with pytest.raises(NotCapturedError, match="small"):
        captured.read("small")
    with pytest.raises(HostileError):
        captured.read("../small")


def test_listings_are_remembered(memory, tmp_path):
    capture = CapturingStore(memory, tmp_path)
    assert list(capture.keys("a")) == ["a/b"]
    captured = CapturedStore(capture.seal().folder)
    assert list(captured.keys("a")) == list(captured.keys("a/")) == ["a/b"]
    with pytest.raises(NotCapturedError):
        captured.keys()


def test_a_capture_of_two_versions_is_void(memory, tmp_path):
    capture = CapturingStore(memory, tmp_path)
    capture.read("a/b", 0, 10)
    memory.version = "2"
    with pytest.raises(UnsettledError, match="a/b") as caught:
        capture.read("a/b", 10, 20)
    assert caught.value.transient


def test_the_digest_is_of_the_content_and_not_of_the_way_there(memory, tmp_path):
    one, two, other = (CapturingStore(memory, tmp_path / name) for name in "123")
    one.read("a/b", 0, 10)
    one.read("small")
    two.read("small")
    two.read("a/b", 0, 10)
    other.read("small")
    assert one.seal().digest == two.seal().digest != other.seal().digest


@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_harm_is_noticed_before_the_first_use(memory, tmp_path, harm):
    capture = CapturingStore(memory, tmp_path)
    capture.read("a/b", 0, 100)
    capture.seal()
    (file,) = (path for path in tmp_path.iterdir() if path.name != "index.json")
    data = file.read_bytes()
    {
        "flip": lambda: file.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:]),
        "cut": lambda: file.write_bytes(data[:99]),
        "gone": file.unlink,
    }[harm]()
    with pytest.raises(DamagedError):
        CapturedStore(tmp_path).read("a/b", 0, 5)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"layout": 9}', '{"layout":1,"keys":{"a":1},"absent":[],"listings":{}}']
)
def test_a_broken_index_is_named(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(DamagedError):
        CapturedStore(tmp_path)


def test_an_index_may_not_point_outside(memory, tmp_path):
    capture = CapturingStore(memory, tmp_path)
    capture.read("small")
    capture.seal()
    index = json.loads((tmp_path / "index.json").read_text())
    index["keys"]["small"]["extents"] = [[0, 2, "../secret", hashlib.sha256(b"{}").hexdigest()]]
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(HostileError):
        CapturedStore(tmp_path)


def test_an_unsealed_capture_cannot_be_opened_and_a_sealed_one_not_be_added_to(memory, tmp_path):
    capture = CapturingStore(memory, tmp_path)
    capture.read("small")
    with pytest.raises(NotFoundError, match="sealed"):
        CapturedStore(tmp_path)
    capture.seal()
    with pytest.raises(StepError, match="sealed"):
        capture.read("a/b")


def test_threads_may_capture_together(tmp_path):
    memory = Memory(**{f"k{number}": BLOB for number in range(20)})
    capture = CapturingStore(memory, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: capture.read(f"k{number % 20}", 0, 500), range(100)))
    assert found == [BLOB[:500]] * 100
    assert len(memory.asked) == 20
    assert capture.seal().keys == 20


def test_small_answers_are_shared_between_captures(memory, tmp_path):
    cache = MetadataCache()
    for name in "123":
        capture = CapturingStore(memory, tmp_path / name, cache=cache)
        assert capture.read("small") == b"{}"
        with pytest.raises(NotFoundError):
            capture.read("zarr.json")
        captured = CapturedStore(capture.seal().folder)
        assert captured.read("small") == b"{}"
        with pytest.raises(NotFoundError, match="did not exist"):
            captured.read("zarr.json")
    assert len(memory.asked) == 2


def test_the_cache_holds_small_answers_only_and_not_too_many(tmp_path):
    cache = MetadataCache(max_bytes=10_000)
    cache.put("large", 0, None, Blob(bytes(65_537), 65_537, ""))
    assert cache.get("large", 0, None) is None
    for number in range(20):
        cache.put(f"k{number}", 0, None, Blob(bytes(1000), 1000, ""))
        cache.get("k0", 0, None)
    assert cache.get("k0", 0, None) is not None
    assert cache.get("k1", 0, None) is None
    assert cache.get("k19", 0, None) is not None


def test_a_bad_network_does_not_reach_the_capture(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(BLOB * 200)
    script = [Fault("reset"), Fault("busy"), None, Fault("wrong-range"), Fault("reset"), None, Fault("etag")]
    with FaultyServer(tmp_path / "in", script) as server:
        store = RemoteStore(server.url, sleep=lambda _: None)
        capture = CapturingStore(store, tmp_path / "out")
        assert capture.read("a", 0, 150_000) == (BLOB * 200)[:150_000]
        assert capture.read("a", 100_000, 200_000) == (BLOB * 200)[100_000:]
        with pytest.raises(NotFoundError):
            capture.read("b")
        sealed = capture.seal()
    assert CapturedStore(sealed.folder).read("a") == BLOB * 200
    assert sealed.bytes < 201_000
    assert server.bytes < 1.5 * len(BLOB) * 200


def test_local_files_can_be_captured(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(BLOB)
    capture = CapturingStore(LocalStore(tmp_path / "in"), tmp_path / "out")
    assert capture.read("a", 5, 10) == BLOB[5:10]
    assert CapturedStore(capture.seal().folder).read("a", 5, 10) == BLOB[5:10]
