"""PNG: the exam, Pillow as witness, colours, checksums."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from phenostream import formats
from phenostream.errors import DamagedError, WrongDtypeError, WrongShapeError
from phenostream.formats import png
from phenostream.testing.readers import MemoryStore, ReaderExam, cells
from phenostream.values import Container, Plane

PLANE = Plane("a.png", "png")


class TestExam(ReaderExam):
    shape = (1, 1, 1, 90, 120)
    overhead = 1.0

    def make(self, folder, stack):
        folder.mkdir(exist_ok=True)
        png.write(folder / "a.png", stack[0, 0, 0])
        return Container("a.png", "png", plate="P", well="A1")

    def stored(self, store, plane):
        return len(store.blobs[plane.key])


def saved(picture, **how):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", **how)
    return MemoryStore({"a.png": out.getvalue()})


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pillow_and_we_agree(tmp_path, dtype):
    pixels = cells((50, 61), dtype)
    np.testing.assert_array_equal(formats.read(saved(pixels), PLANE), pixels)
    png.write(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_big_endian_pixels_are_written_as_they_are(tmp_path):
    pixels = cells((50, 61), ">u2")
    png.write(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(formats.read(MemoryStore.of(tmp_path), PLANE), pixels)


def test_same_input_same_bytes(tmp_path):
    for name in "ab":
        png.write(tmp_path / name, cells((50, 60)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_grey_saved_as_colour_passes():
    pixels = cells((50, 60), "uint8")
    opaque = np.full_like(pixels, 255)
    for picture in (np.dstack([pixels] * 3), np.dstack([pixels] * 3 + [opaque]), np.dstack([pixels, opaque])):
        found = formats.read(saved(picture), PLANE)
        np.testing.assert_array_equal(found, pixels)


def test_colour_and_transparency_are_refused():
    pixels = cells((50, 60), "uint8")
    with pytest.raises(WrongShapeError, match="colour"):
        formats.read(saved(np.dstack([pixels, pixels, pixels + 1])), PLANE)
    with pytest.raises(WrongShapeError, match="transparent"):
        formats.read(saved(np.dstack([pixels, pixels])), PLANE)


def test_every_flipped_bit_of_the_pixels_is_noticed():
    store = saved(cells((30, 30), "uint8"))
    whole = store.blobs["a.png"]
    for at in range(0, len(whole), 7):
        store.blobs["a.png"] = whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
        with pytest.raises(DamagedError):
            formats.read(store, PLANE)


def test_zeroed_kilobytes_are_noticed():
    store = saved(cells((300, 300), "uint16"))
    whole = store.blobs["a.png"]
    for at in range(0, len(whole) - 4096, 9000):
        store.blobs["a.png"] = whole[:at] + bytes(4096) + whole[at + 4096 :]
        with pytest.raises(DamagedError):
            formats.read(store, PLANE)


def test_wrong_input_is_refused(tmp_path):
    with pytest.raises(WrongShapeError):
        png.write(tmp_path / "x", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(WrongDtypeError):
        png.write(tmp_path / "x", np.zeros((3, 4)))


def test_real_crops_agree_with_pillow(data):
    with zipfile.ZipFile(min((data / "mitocheck").glob("*.zip"))) as archive:
        blobs = {name: archive.read(name) for name in archive.namelist() if name.endswith(".png")}
    store = MemoryStore(blobs)
    for name in list(blobs)[::200]:
        with Image.open(io.BytesIO(blobs[name])) as picture:
            np.testing.assert_array_equal(formats.read(store, Plane(name, "png")), np.asarray(picture.convert("L")))
