import time

import httpx
import pytest

from phenostream.synthetic.serve import RangeServer, Visit

DATA = bytes(range(256)) * 10


@pytest.fixture
def server(tmp_path):
    (tmp_path / "files" / "sub").mkdir(parents=True)
    (tmp_path / "files" / "sub" / "a b.bin").write_bytes(DATA)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "files" / "link").symlink_to(tmp_path / "secret")
    with RangeServer(tmp_path / "files") as server:
        yield server


@pytest.fixture
def get(server):
    with httpx.Client(base_url=server.url) as client:
        yield lambda path="/sub/a%20b.bin", **headers: client.get(path, headers=headers)


def test_whole_files(get, server):
    answer = get()
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert server.visits == [Visit("GET", "sub/a b.bin", "", 200, 2560)]
    assert (server.bytes, server.requests) == (2560, 1)
    server.reset_counts()
    assert (server.bytes, server.requests) == (0, 0)


@pytest.mark.parametrize(
    ("asked", "expected", "told"),
    [
        ("bytes=0-0", DATA[:1], "bytes 0-0/2560"),
        ("bytes=100-199", DATA[100:200], "bytes 100-199/2560"),
        ("bytes=2550-", DATA[2550:], "bytes 2550-2559/2560"),
        ("bytes=2550-9999", DATA[2550:], "bytes 2550-2559/2560"),
        ("bytes=-10", DATA[-10:], "bytes 2550-2559/2560"),
        ("bytes=-9999", DATA, "bytes 0-2559/2560"),
    ],
)
def test_ranges(get, asked, expected, told):
    answer = get(Range=asked)
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["Content-Range"] == told


@pytest.mark.parametrize("asked", ["bytes=2560-", "bytes=9999-10000", "bytes=-0"])
def test_ranges_behind_the_end(get, asked):
    answer = get(Range=asked)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */2560"


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=1-2,5-6", "lines=1-2", "bytes=x-y"])
def test_what_is_no_single_range_is_ignored(get, asked):
    assert get(Range=asked).status_code == 200


def test_conditions(get):
    tag = get().headers["ETag"]
    assert get(Range="bytes=0-9", **{"If-Range": tag}).status_code == 206
    assert get(Range="bytes=0-9", **{"If-Range": '"other"'}).status_code == 200
    assert get(**{"If-Match": tag}).status_code == 200
    assert get(**{"If-Match": '"other"'}).status_code == 412


def test_the_etag_follows_the_content(get, server):
    before = get().headers["ETag"]
    (server.folder / "sub" / "a b.bin").write_bytes(b"new")
    assert get().headers["ETag"] != before


def test_head_sends_no_body(server):
    answer = httpx.head(f"{server.url}/sub/a%20b.bin")
    assert (answer.headers["Content-Length"], answer.content) == ("2560", b"")
    assert server.bytes == 0


@pytest.mark.parametrize(
    "path", ["/nothing", "/sub", "/", "/link", "/..%2Fsecret", "/sub/../../secret", "/%2Fetc/passwd", "/a%00b"]
)
def test_nothing_outside_is_served(get, path):
    answer = get(path)
    assert (answer.status_code, answer.content) == (404, b"")


def test_slow_motion(tmp_path):
    (tmp_path / "a").write_bytes(bytes(20_000))
    with RangeServer(tmp_path, rate=100_000, latency=0.05) as server:
        begun = time.monotonic()
        assert len(httpx.get(f"{server.url}/a").content) == 20_000
        assert time.monotonic() - begun >= 0.25


def test_it_is_gone_after_the_block(server, tmp_path):
    with RangeServer(tmp_path) as other:
        url = other.url
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with pytest.raises(RuntimeError, match="running"):
        _ = other.url
