import sys
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

import pytest

from phenostream.errors import RecipeError
from phenostream.sources import Arrival, stores
from phenostream.values import plugs
from phenostream.values.plugs import Plugs

TRANSPORTS = Plugs("phenostream.sources.transports", "phenostream.transports", "transport")


@pytest.fixture
def outside(monkeypatch):
    module = ModuleType("outside_transport")
    monkeypatch.setitem(sys.modules, "outside_transport", module)
    announced = EntryPoint("webdav", "outside_transport", "phenostream.transports")
    own = EntryPoint("s3", "outside_transport", "phenostream.transports")

    def found(**wanted):
        if wanted.get("group") != "phenostream.transports":
            return entry_points(**wanted)
        return [one for one in (announced, own) if wanted.get("name", one.name) == one.name]

    monkeypatch.setattr(plugs, "entry_points", found)
    return module


def test_the_folder_is_the_registry():
    assert TRANSPORTS.names() == ("aspera", "ftp", "gcs", "https", "local", "s3")


def test_plugs_from_outside_are_found_but_replace_nothing(outside):
    assert TRANSPORTS.names() == ("aspera", "ftp", "gcs", "https", "local", "s3", "webdav")
    assert TRANSPORTS.load("webdav") is outside
    assert TRANSPORTS.load("s3") is not outside


def test_a_store_over_a_transport_from_outside(outside):
    class Transport:
        def __init__(self, base, options):
            self.base = base

        @contextmanager
        def fetch(self, key, *, start=0, stop=None, version=""):
            data = f"{self.base}/{key}".encode()
            yield Arrival(len(data), "1", start, iter([data[start:stop]]))

    outside.Transport = Transport
    assert stores.open_store("webdav://host/folder").read("a", 9) == b"host/folder/a"


def test_unknown_plugs_are_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"transport 'gopher'.*https, local, s3"):
        TRANSPORTS.load("gopher")


@pytest.mark.parametrize(
    ("base", "scheme"),
    [
        ("/data/plate", "local"),
        ("plates", "local"),
        ("file:///data/plate", "local"),
        ("http://host/a", "https"),
        ("HTTPS://host/a", "https"),
        ("s3://bucket/a", "s3"),
        ("gs://bucket/a", "gcs"),
        ("ftps://host/a", "ftp"),
        ("fasp://user@host/a", "aspera"),
        ("C:odd/name", "local"),
    ],
)
def test_schemes(base, scheme):
    assert stores.scheme_of(base) == scheme
