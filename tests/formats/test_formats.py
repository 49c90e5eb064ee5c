"""Dispatch by name, attaching, places and limits."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from phenostream import formats
from phenostream.errors import (
    EmptyError,
    HostileError,
    NotFoundError,
    RecipeError,
    TooLargeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.formats import _places, limits, png
from phenostream.testing.readers import MemoryStore, cells
from phenostream.values import Container, Field, Plane


def test_the_folder_is_the_registry():
    assert set(formats.names()) >= {"cellh5", "ome_zarr", "png", "tiff"}
    assert "limits" not in formats.names()
    for name in formats.names():
        assert callable(formats.reader(name).read)
        assert callable(formats.reader(name).fields)


def test_an_unknown_format_is_told_what_there_is():
    with pytest.raises(RecipeError, match=r"jpg.*cellh5, ome_zarr, parquet_images, png, png_rgb, tiff"):
        formats.read(MemoryStore({}), Plane("a", "jpg"))
    with pytest.raises(RecipeError):
        formats.reader("_hdf5")


class outside:
    """A reader from an entry point; without touch or labels of its own."""

    calls = 0

    @classmethod
    def fields(cls, store, container):
        yield formats.attach(Field(None, planes=(Plane(container.key, "outside"),)), store)

    @classmethod
    def read(cls, store, plane):
        cls.calls += 1
        return np.frombuffer(store.read(plane.key), np.uint8).reshape(2, -1)


def test_a_reader_from_outside(monkeypatch):
    point = EntryPoint("outside", "somewhere:outside", "phenostream.readers")
    monkeypatch.setattr(EntryPoint, "load", lambda _: outside)
    monkeypatch.setattr(formats, "entry_points", lambda **query: EntryPoints([point]).select(**query))
    formats.reader.cache_clear()
    store = MemoryStore({"a": bytes(range(6))})
    (field,) = formats.fields(store, Container("a", "outside"))
    np.testing.assert_array_equal(field.read(), [[[0, 1, 2], [3, 4, 5]]])
    formats.touch(store, field.planes[0])
    assert outside.calls == 2
    with pytest.raises(NotFoundError, match="no label images"):
        formats.labels(field)
    formats.reader.cache_clear()


def test_channels_of_different_sizes_do_not_stack(tmp_path):
    png.write(tmp_path / "a.png", cells((20, 30)))
    png.write(tmp_path / "b.png", cells((20, 31)))
    planes = (Plane("a.png", "png"), Plane("b.png", "png"))
    field = formats.attach(Field(None, planes=planes), MemoryStore.of(tmp_path))
    with pytest.raises(WrongShapeError, match=r"\(20, 31\)"):
        field.read()


def test_nothing_to_read():
    with pytest.raises(EmptyError):
        formats.attach(Field(None), MemoryStore({})).read()
    with pytest.raises(NotFoundError, match="not read from a file"):
        formats.labels(Field.of(np.zeros((3, 3))))


def test_errors_say_where():
    with pytest.raises(NotFoundError) as caught:
        formats.read(MemoryStore({}), Plane("plate.zarr", "ome_zarr", "A/1/0/0"))
    assert caught.value.place == "file plate.zarr, inner A/1/0/0"


@pytest.mark.parametrize(
    ("number", "name"), [(1, "A1"), (4, "A4"), (24, "A24"), (25, "B1"), (384, "P24"), (0, ""), (385, "")]
)
def test_numbered_wells(number, name):
    assert _places.numbered_well(number) == name


def test_numbered_wells_of_other_plates():
    assert _places.numbered_well(13, columns=12, rows=8) == "B1"
    assert _places.numbered_well(48 * 26 + 1, columns=48, rows=32) == "AA1"


@pytest.mark.parametrize(("name", "plain"), [("B03", "B3"), ("B/03", "B3"), ("a1", "A1"), ("AA12", "AA12"), ("x", "x")])
def test_well_names(name, plain):
    assert _places.well_name(name) == plain


@pytest.mark.parametrize("path", ["", "..", "a/../b", "/a", "a//b", "a\\b", "./a", "a\0"])
def test_paths_that_leave(path):
    with pytest.raises(HostileError):
        _places.inside(path, "a file")


def test_claims():
    assert limits.check_claim((1024, 1344), "u2", "x") == 2_752_512
    with pytest.raises(EmptyError):
        limits.check_claim((0, 5), "u1", "x")
    with pytest.raises(TooLargeError, match="cap"):
        limits.check_claim((2**20, 2**20), "u2", "x")
    with pytest.raises(TooLargeError, match="to one"):
        limits.check_claim((5000, 5000), "u1", "x", stored=2000)
    small = limits.Limits(plane_bytes=100)
    with pytest.raises(TooLargeError):
        limits.check_claim((11, 10), "u1", "x", limits=small)


def test_types():
    assert limits.check_dtype(">u2", "x") == np.dtype("u2")
    with pytest.raises(WrongDtypeError, match="float64; allowed are uint8"):
        limits.check_dtype("f8", "x")


def test_the_page_about_formats_runs(tmp_path, monkeypatch):
    """Every Python block of docs/formats.md, in order."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "formats.md", "exec"), known)
