from contextlib import contextmanager
from itertools import count

import pytest

from phenostream.errors import ForbiddenError, NotFoundError, RecipeError, ThrottledError, UnreachableError
from phenostream.sources import RemoteStore, TransportOptions, open_store
from phenostream.sources.transports import gcs
from phenostream.testing.servers import Fault, GcsServer, S3Server
from phenostream.testing.transports import TransportExam


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    for name in (*gcs._ACCOUNTS, "GOOGLE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def store_at(server, bucket, **options):
    return RemoteStore(f"gs://{bucket}", TransportOptions(endpoint=server.url, **options), sleep=lambda _: None)


class TestGcs(TransportExam):
    @contextmanager
    def store_of(self, folder):
        with GcsServer(folder.parent, page=2) as server:
            yield store_at(server, folder.name)

    @contextmanager
    def broken_store_of(self, folder):
        with GcsServer(folder.parent, [Fault("reset")]) as server:
            yield store_at(server, folder.name)


class TestGcsBelowAPrefix(TransportExam):
    @contextmanager
    def store_of(self, folder):
        with GcsServer(folder.parent.parent) as server:
            yield store_at(server, f"{folder.parent.name}/{folder.name}/")


_names = (f"bucket{number}" for number in count())


class TestGcsAgainstAServiceOfOthers(TransportExam):
    """The XML API of Google Cloud Storage is S3's, for readers: moto speaks it."""

    service = None

    @contextmanager
    def store_of(self, folder):
        name = next(_names)
        self.service.add(name, folder)
        yield open_store(f"gs://{name}", options=TransportOptions(endpoint=self.service.endpoint))


@pytest.fixture(scope="module", autouse=True)
def service():
    pytest.importorskip("moto")
    with S3Server({}) as server:
        TestGcsAgainstAServiceOfOthers.service = server
        yield


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "served" / "bucket").mkdir(parents=True)
    (tmp_path / "served" / "bucket" / "a").write_bytes(b"content")
    return tmp_path / "served"


def test_the_endpoint_may_come_from_the_environment(folder, monkeypatch):
    with GcsServer(folder) as server:
        monkeypatch.setenv("GOOGLE_BASE_URL", server.url)
        assert open_store("gs://bucket").read("a") == b"content"


def test_a_service_account_opens_a_private_bucket(folder, tmp_path, monkeypatch):
    with GcsServer(folder, private=True) as server:
        account = server.account(tmp_path / "account.json")
        with pytest.raises(ForbiddenError, match="credentials"):
            store_at(server, "bucket").read("a")
        store = store_at(server, "bucket", service_account=account)
        assert store.read("a") == b"content"
        assert list(store.keys()) == ["a"]
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", account)
        assert store_at(server, "bucket").read("a") == b"content"


def test_another_account_is_refused(folder, tmp_path):
    with GcsServer(folder, private=True) as other:
        account = other.account(tmp_path / "account.json")
    with GcsServer(folder, private=True) as server, pytest.raises(ForbiddenError):
        store_at(server, "bucket", service_account=account).read("a")


@pytest.mark.parametrize("content", [None, "", "{}", "no JSON"])
def test_an_unusable_account_is_a_mistake_in_the_recipe(folder, tmp_path, content):
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecipeError, match="cannot be used"):
        open_store("gs://bucket", options=TransportOptions(service_account=str(path))).read("a")


def test_a_change_behind_a_broken_transfer_starts_anew(folder):
    (folder / "bucket" / "a").write_bytes(bytes(100_000))

    class Changing(GcsServer):
        def answer(self, method, key, headers):
            if self.requests == 1:
                (folder / "bucket" / "a").write_bytes(b"new" * 50_000)
            return super().answer(method, key, headers)

    with Changing(folder, [Fault("reset")]) as server:
        assert store_at(server, "bucket").read("a") == b"new" * 50_000
    assert [visit.status for visit in server.visits] == [200, 412, 200]


def test_patience_is_named(folder):
    with GcsServer(folder, [Fault("busy")] * 9) as server, pytest.raises(ThrottledError, match="gs://bucket/a"):
        store_at(server, "bucket", tries=2).read("a")


def test_a_bucket_that_is_not_there(folder):
    with GcsServer(folder) as server:
        with pytest.raises(NotFoundError):
            store_at(server, "other").read("a")
        with pytest.raises(NotFoundError):
            store_at(server, "other").keys()


def test_a_host_that_does_not_answer():
    store = RemoteStore("gs://b", TransportOptions(endpoint="http://127.0.0.1:9", tries=2), sleep=lambda _: None)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        store.read("a")


def test_an_unprotected_endpoint_elsewhere_is_refused():
    with pytest.raises(RecipeError, match="protected"):
        open_store("gs://b", options=TransportOptions(endpoint="http://example.org")).read("a")


def test_a_url_without_bucket_is_refused():
    with pytest.raises(RecipeError, match="bucket"):
        open_store("gs:///a").read("a")
