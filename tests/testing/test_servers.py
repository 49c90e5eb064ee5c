import random

import httpx
import pytest

from phenostream.testing.servers import Fault, Faults, FaultyServer, S3Server

DATA = bytes(200_000)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    return tmp_path


def ask(server, **headers):
    return httpx.get(f"{server.url}/a", headers=headers, timeout=2)


def test_a_reset_comes_where_it_should(folder):
    with FaultyServer(folder, [Fault("reset", after=70_000)]) as server:
        got = []
        with pytest.raises(httpx.TransportError), httpx.stream("GET", f"{server.url}/a") as answer:
            got.extend(answer.iter_raw())
        assert sum(map(len, got)) <= 70_000
        assert ask(server).content == DATA


def test_a_stall_outlasts_patience(folder):
    with FaultyServer(folder, [Fault("stall", seconds=5)]) as server, pytest.raises(httpx.ReadTimeout):
        ask(server)


def test_a_flip_changes_one_bit(folder):
    with FaultyServer(folder, [Fault("flip", after=100_000)]) as server:
        got = ask(server).content
    assert [(place, byte) for place, byte in enumerate(got) if byte] == [(100_000, 1)]


def test_refusals(folder):
    with FaultyServer(folder, [Fault("busy", seconds=3), Fault("broken")]) as server:
        busy, broken, good = ask(server), ask(server), ask(server)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "3")
    assert (broken.status_code, good.status_code) == (500, 200)


def test_false_words(folder):
    with FaultyServer(
        folder, [Fault("etag"), Fault("ignore-range"), Fault("wrong-range"), Fault("wrong-length")]
    ) as server:
        tag = ask(server).headers["ETag"]
        assert ask(server, Range="bytes=0-9").status_code == 200
        assert ask(server, Range="bytes=0-9").headers["Content-Range"] == "bytes 1-10/200000"
        with pytest.raises(httpx.TransportError):
            ask(server)
        assert ask(server).headers["ETag"] != tag
    assert [fault.kind for fault in server.faults.met] == ["etag", "ignore-range", "wrong-range", "wrong-length"]


def test_the_dice_are_seeded():
    rates = {Fault("reset"): 0.3, Fault("flip"): 0.3}
    drawn = [[Faults(rates=rates, rng=random.Random(seed)).draw() for _ in range(1)] for seed in (1, 1)]
    assert drawn[0] == drawn[1]
    many = Faults(rates=rates, rng=random.Random(0))
    kinds = [many.draw() for _ in range(1000)]
    assert 0.25 < sum(kind == Fault("reset") for kind in kinds) / 1000 < 0.35


def test_a_bucket_is_gone_with_its_server(folder):
    pytest.importorskip("moto")
    with S3Server({"one": folder}) as server:
        assert server.client.get_object(Bucket="one", Key="a")["ContentLength"] == len(DATA)
    with S3Server({}) as server:
        assert server.client.list_buckets()["Buckets"] == []
    with pytest.raises(RuntimeError, match="running"):
        _ = server.endpoint
