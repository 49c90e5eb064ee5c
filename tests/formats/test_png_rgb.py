"""Colour PNG: the exam, Pillow as witness, and what is no picture of three channels."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from phenostream import formats
from phenostream.errors import WrongShapeError
from phenostream.testing.readers import MemoryStore, ReaderExam, cells
from phenostream.values import Container, Plane


class TestExam(ReaderExam):
    shape = (1, 3, 1, 90, 120)
    overhead = 1.0

    def make(self, folder, stack):
        folder.mkdir(exist_ok=True)
        (folder / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(np.moveaxis(stack[0, :, 0], 0, -1))))
        return Container("a.png", "png_rgb", plate="P", well="A1")

    def stored(self, store, plane):
        return len(store.blobs[plane.key])


def saved(picture):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return MemoryStore({"a.png": out.getvalue()})


def field(store):
    (found,) = formats.fields(store, Container("a.png", "png_rgb"))
    return found


def test_pillow_and_we_agree():
    pixels = cells((3, 50, 61), "uint8")
    found = field(saved(np.moveaxis(pixels, 0, -1)))
    assert [channel.name for channel in found.channels] == ["Red", "Green", "Blue"]
    np.testing.assert_array_equal(found.read(), pixels)
    np.testing.assert_array_equal(
        formats.read(saved(np.moveaxis(pixels, 0, -1)), Plane("a.png", "png_rgb", c=2)), pixels[2]
    )


def test_the_channels_of_a_field_share_a_reading():
    store = saved(np.moveaxis(cells((3, 50, 61), "uint8"), 0, -1))
    found = field(store)
    store.traffic.clear()
    found.read()
    assert len(store.traffic) == 1


def test_an_opaque_alpha_is_left_aside_and_another_refused():
    pixels = np.moveaxis(cells((3, 50, 60), "uint8"), 0, -1)
    opaque, glass = (np.dstack([pixels, np.full((50, 60), alpha, np.uint8)]) for alpha in (255, 200))
    np.testing.assert_array_equal(field(saved(opaque)).read(), np.moveaxis(pixels, -1, 0))
    with pytest.raises(WrongShapeError, match="transparent"):
        field(saved(glass)).read()


def test_a_grey_picture_is_refused_with_a_way_out():
    with pytest.raises(WrongShapeError, match=r"a.png is grey.*format png"):
        field(saved(cells((50, 60), "uint8"))).read()
