"""Images in Parquet files: the exam, Pillow and OpenJPEG as witnesses, and each row group read once."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenostream import formats
from phenostream.errors import DamagedError, OutOfRangeError, TooLargeError, WrongShapeError
from phenostream.testing.readers import MemoryStore, ReaderExam, cells
from phenostream.values import Channel, Container, Field, FieldId, Plane


def jp2(pixels):
    return imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0)


def saved(images, path, *, struct=False, row_group_size=None):
    values = [{"bytes": one, "path": None} if struct else one for one in images]
    table = pa.table({"__key__": [f"k{n}" for n in range(len(images))], "jp2": values})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


class TestExam(ReaderExam):
    shape = (1, 1, 1, 60, 70)
    checksummed = False

    def make(self, folder, stack):
        folder.mkdir(exist_ok=True)
        saved([jp2(stack[0, 0, 0])], folder / "a.parquet")
        return Container("a.parquet", "parquet_images")


@pytest.mark.parametrize("struct", [False, True])
def test_jpeg_2000_and_png_of_any_row(tmp_path, struct):
    pixels = [cells((21, 33), kind, seed=seed) for seed, kind in enumerate(("uint8", "uint16", "uint8", "uint16"))]
    out = io.BytesIO()
    Image.fromarray(pixels[2]).save(out, "PNG")
    saved([jp2(pixels[0]), jp2(pixels[1]), out.getvalue(), jp2(pixels[3])], tmp_path / "a.parquet", struct=struct,
          row_group_size=3)  # fmt: skip
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(jp2(pixels[0])))), pixels[0])
    found = list(formats.fields(MemoryStore.of(tmp_path), Container("a.parquet", "parquet_images", plate="P")))
    assert [one.planes[0].inner for one in found] == ["jp2/0/0", "jp2/0/1", "jp2/0/2", "jp2/1/0"]
    for one, known in zip(found, pixels, strict=True):
        assert one.read().dtype == known.dtype
        assert np.array_equal(one.read()[0], known)


@pytest.fixture
def store(tmp_path):
    """Forty sites of two channels in row groups of eight, all of one size."""
    images = [jp2(cells((30, 40), "uint8", seed=seed)) for seed in range(80)]
    saved(images, tmp_path / "a.parquet", row_group_size=8)
    return MemoryStore.of(tmp_path)


def site(store, number):
    planes = tuple(
        Plane("a.parquet", "parquet_images", f"jp2/{row // 8}/{row % 8}") for row in (2 * number, 2 * number + 1)
    )
    return formats.attach(Field(FieldId(site=str(number)), (Channel("DNA"), Channel("ER")), planes), store)


def test_the_channels_of_a_site_share_a_row_group(store, groups_read):
    assert site(store, 9).read().shape == (2, 30, 40)
    assert groups_read == [2]


def test_together_each_row_group_is_read_once_in_any_order(store, groups_read):
    alone = [site(store, number).read() for number in range(40)]
    groups_read.clear()
    order = np.random.default_rng(0).permutation(40)
    with formats.together(site(store, number) for number in order):
        for number in order:
            assert np.array_equal(site(store, number).read(), alone[number])
        assert sorted(groups_read) == list(range(10))
        assert np.array_equal(site(store, 3).read(), alone[3]), "a site that is asked for again is read again"
        assert len(groups_read) > 10
    groups_read.clear()
    site(store, 0).read()
    assert groups_read == [0], "nothing is kept beyond"


def test_what_is_no_image_or_lies_is_named(tmp_path):
    good = jp2(cells((20, 24), "uint8"))
    at = good.find(b"\xff\x4f\xff\x51")
    huge = good[: at + 8] + (1 << 20).to_bytes(4) + (1 << 20).to_bytes(4) + good[at + 16 :]
    colour = imagecodecs.jpeg2k_encode(np.arange(300, dtype=np.uint8).reshape(10, 10, 3), reversible=True, level=0)
    images = [b"no image", good[: at + 60], huge, colour, None]
    saved(images, tmp_path / "a.parquet")
    store = MemoryStore.of(tmp_path)
    errors = (DamagedError, DamagedError, TooLargeError, WrongShapeError, DamagedError)
    for row, error in enumerate(errors):
        with pytest.raises(error):
            formats.read(store, Plane("a.parquet", "parquet_images", f"jp2/0/{row}"))
    for inner in ("jp2/0/5", "jp2/1/0", "jp2", "jp2/x/0", "none/0/0"):
        with pytest.raises(OutOfRangeError):
            formats.read(store, Plane("a.parquet", "parquet_images", inner))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "b.parquet")
    with pytest.raises(DamagedError, match="no column of images"):
        next(formats.fields(MemoryStore.of(tmp_path), Container("b.parquet", "parquet_images")))
