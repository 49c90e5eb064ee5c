from contextlib import contextmanager
from itertools import count

import pytest

from phenostream.errors import (
    BrokenTransferError,
    ForbiddenError,
    NotFoundError,
    RecipeError,
    ThrottledError,
    UnreachableError,
)
from phenostream.sources import RemoteStore, TransportOptions, open_store
from phenostream.synthetic.serve import Answer
from phenostream.testing.servers import Fault, FaultyServer, S3Server
from phenostream.testing.transports import TransportExam

pytest.importorskip("moto")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)


_names = (f"bucket-{number}" for number in count())


@pytest.fixture(scope="module", autouse=True)
def server():
    with S3Server({}) as server:
        SharedExam.server = server
        yield server


class SharedExam(TransportExam):
    server = None

    @contextmanager
    def broken_store_of(self, folder):
        with FaultyServer(folder.parent, [Fault("reset")]) as server:
            options = TransportOptions(endpoint=server.url)
            yield RemoteStore(f"s3://{folder.name}", options, sleep=lambda _: None)


class TestS3(SharedExam):
    @contextmanager
    def store_of(self, folder):
        name = next(_names)
        self.server.add(name, folder)
        yield open_store(f"s3://{name}", options=TransportOptions(endpoint=self.server.endpoint))


class TestS3BelowAPrefix(SharedExam):
    @contextmanager
    def store_of(self, folder):
        name = next(_names)
        self.server.add(name, folder.parent)
        yield open_store(f"s3://{name}/files/", options=TransportOptions(endpoint=self.server.endpoint))


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("private")
    (tmp_path / "a").write_bytes(b"content")
    with S3Server({"private": tmp_path}, public=False) as server:
        yield server


def test_the_endpoint_may_come_from_the_environment(private, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", private.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert open_store("s3://private").read("a") == b"content"


def test_credentials_may_be_given(private):
    options = TransportOptions(endpoint=private.endpoint, access_key_id="id", secret_access_key="secret")
    assert open_store("s3://private", options=options).read("a") == b"content"
    assert "secret'" not in options.model_dump_json()


def test_without_credentials_a_private_bucket_is_closed(private):
    with pytest.raises(ForbiddenError, match="credentials"):
        open_store("s3://private", options=TransportOptions(endpoint=private.endpoint)).read("a")
    hiding = TransportOptions(endpoint=private.endpoint, hides_missing=True)
    with pytest.raises(NotFoundError):
        open_store("s3://private", options=hiding).read("a")


def test_a_change_between_two_parts_is_noticed(private):
    options = TransportOptions(endpoint=private.endpoint, access_key_id="id", secret_access_key="secret")
    store = RemoteStore("s3://private", options, sleep=lambda _: None)
    transport, _ = store._open()
    with transport.fetch("a") as first:
        version = first.version
    private.client.put_object(Bucket="private", Key="a", Body=b"CHANGED")
    with pytest.raises(ValueError, match="changed while"), transport.fetch("a", start=3, version=version):
        pass
    assert store.read("a") == b"CHANGED"


def test_a_change_behind_a_broken_transfer_starts_anew(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a").write_bytes(bytes(100_000))

    class Changing(FaultyServer):
        def answer(self, method, key, headers):
            if self.requests == 1:
                (tmp_path / "bucket" / "a").write_bytes(b"new" * 50_000)
            return super().answer(method, key, headers)

    with Changing(tmp_path, [Fault("reset")]) as server:
        one = RemoteStore("s3://bucket", TransportOptions(endpoint=server.url), sleep=lambda _: None)
        assert one.read("a") == b"new" * 50_000
    assert [visit.status for visit in server.visits] == [200, 412, 200]


@pytest.mark.parametrize(
    ("status", "expected", "asked"),
    [
        (301, ForbiddenError, 1),
        (400, ForbiddenError, 1),
        (403, ForbiddenError, 1),
        (404, NotFoundError, 1),
        (429, ThrottledError, 3),
        (500, BrokenTransferError, 3),
        (503, ThrottledError, 3),
    ],
)
def test_answers_have_names(tmp_path, status, expected, asked):
    class Fixed(FaultyServer):
        def answer(self, method, key, headers):
            return Answer(status, {"Content-Length": "0"})

    with Fixed(tmp_path) as server:
        options = TransportOptions(endpoint=server.url, tries=3)
        with pytest.raises(expected, match="s3://bucket/503/a"):
            RemoteStore("s3://bucket", options, sleep=lambda _: None).read("503/a")
    assert server.requests == asked


def test_a_listing_is_tried_again():
    waits = []
    options = TransportOptions(endpoint="http://127.0.0.1:9", tries=3)
    with pytest.raises(UnreachableError):
        RemoteStore("s3://b", options, sleep=waits.append).keys()
    assert len(waits) == 2


def test_a_host_that_does_not_answer():
    store = RemoteStore("s3://b", TransportOptions(endpoint="http://127.0.0.1:9", tries=2), sleep=lambda _: None)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        store.read("a")


@pytest.mark.parametrize("endpoint", ["http://example.org", "http://10.0.0.1:9000"])
def test_an_unprotected_endpoint_elsewhere_is_refused(endpoint):
    with pytest.raises(RecipeError, match="protected"):
        open_store("s3://b", options=TransportOptions(endpoint=endpoint)).read("a")


def test_a_url_without_bucket_is_refused():
    with pytest.raises(RecipeError, match="bucket"):
        open_store("s3:///a").read("a")
