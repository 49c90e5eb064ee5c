from contextlib import contextmanager

import httpx
import pytest

from phenostream.errors import ForbiddenError, HostileError, NotFoundError, RecipeError
from phenostream.sources import RemoteStore, TransportOptions, open_store
from phenostream.sources.transports import https
from phenostream.synthetic.serve import Answer, RangeServer
from phenostream.testing.servers import Fault, FaultyServer
from phenostream.testing.transports import TransportExam


class TestHttps(TransportExam):
    lists = False

    @contextmanager
    def store_of(self, folder):
        with RangeServer(folder) as server:
            yield open_store(server.url)

    @contextmanager
    def broken_store_of(self, folder):
        with FaultyServer(folder, [Fault("reset")]) as server:
            yield RemoteStore(server.url, sleep=lambda _: None)


class Fixed(RangeServer):
    """Gives one answer to everything."""

    def __init__(self, folder, *answers):
        super().__init__(folder)
        self.answers = list(answers)
        self.asked = []

    def answer(self, method, key, headers):
        self.asked.append((method, key, dict(headers)))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def reply(status, **headers):
    body = headers.pop("body", b"")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Length": str(len(body)), **named}, iter([body]))


def store(server, **options):
    return RemoteStore(server.url, TransportOptions(**options), sleep=lambda _: None)


def test_it_says_who_it_is_and_wants_bytes_as_they_are(tmp_path):
    with Fixed(tmp_path, reply(200, body=b"x")) as server:
        store(server).read("a")
    headers = server.asked[0][2]
    assert headers["User-Agent"].startswith("phenostream/")
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [400, 401, 403, 406, 451])
def test_refusals_are_not_tried_again(tmp_path, status):
    with Fixed(tmp_path, reply(status)) as server, pytest.raises(ForbiddenError, match=str(status)):
        store(server).read("a")
    assert server.requests == 1


def test_a_bucket_that_hides_what_is_missing(tmp_path):
    with Fixed(tmp_path, reply(403)) as server, pytest.raises(NotFoundError):
        store(server, hides_missing=True).read("a")


def test_redirects_are_followed_only_so_far(tmp_path):
    with Fixed(tmp_path, reply(302, Location="/again")) as server, pytest.raises(ForbiddenError, match="redirects"):
        store(server, redirects=3).read("a")
    assert server.requests == 4


def test_a_redirect_is_followed(tmp_path):
    with Fixed(tmp_path, reply(302, Location="/b"), reply(200, body=b"there")) as server:
        assert store(server).read("a") == b"there"
    assert server.asked[1][1] == "b"


def test_a_redirect_to_an_unprotected_address_is_refused():
    request = httpx.Request("GET", "https://example.org/a")
    answer = httpx.Response(302, headers={"Location": "http://example.org/a"}, request=request)
    with pytest.raises(HostileError, match="unprotected"):
        https._refuse_downgrade(answer)


def test_a_server_without_head_is_asked_for_one_byte(tmp_path):
    partial = reply(206, body=b"x", Content_Range="bytes 0-0/77")
    with Fixed(tmp_path, reply(405), partial) as server:
        assert store(server).size("a") == 77
    assert [method for method, _, _ in server.asked] == ["HEAD", "GET"]


def test_a_range_of_unknown_total_is_read(tmp_path):
    with Fixed(tmp_path, reply(206, body=b"abc", Content_Range="bytes 4-6/*")) as server:
        assert store(server).read("a", 4, 7) == b"abc"


def test_a_partial_answer_without_its_place_is_refused(tmp_path):
    with Fixed(tmp_path, reply(206, body=b"abc")) as server, pytest.raises(ConnectionError, match="Content-Range"):
        store(server, tries=2).read("a", 0, 3)
    assert server.requests == 2


def test_a_length_that_denies_the_range_is_refused(tmp_path):
    with (
        Fixed(tmp_path, reply(206, body=b"abc", Content_Range="bytes 0-9/10")) as server,
        pytest.raises(ConnectionError, match="denies"),
    ):
        store(server, tries=1).read("a", 0, 10)


def test_retry_after_is_seconds_or_a_date():
    assert https._retry_after(httpx.Headers({"Retry-After": "7"})) == 7
    assert https._retry_after(httpx.Headers({"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"})) > 1e9
    assert https._retry_after(httpx.Headers({"Retry-After": "Fri, 01 Jan 1999 00:00:00 GMT"})) == 0
    assert https._retry_after(httpx.Headers({"Retry-After": "soon"})) == 0
    assert https._retry_after(httpx.Headers()) == 0


def test_secrets_in_the_url_stay_out_of_messages(tmp_path):
    with Fixed(tmp_path, reply(404)) as server:
        signed = server.url.replace("//", "//user:pass@") + "/base?token=secret"
        with pytest.raises(NotFoundError) as caught:
            RemoteStore(signed).read("a")
    assert server.asked[0][1] == "base/a"
    assert "secret" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_an_unreadable_url_is_a_mistake_in_the_recipe():
    with pytest.raises(RecipeError, match="transport"):
        open_store("gopher://example.org/a")
    with pytest.raises(RecipeError):
        RemoteStore("http://exa mple:port/", sleep=lambda _: None).read("a")
