"""TIFF and OME-TIFF: the exam, tifffile as witness, descriptions, and what is refused."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
import tifffile

from phenostream import formats
from phenostream.errors import DamagedError, HostileError, OutOfRangeError, WrongDtypeError, WrongShapeError
from phenostream.formats import tiff
from phenostream.formats.tiff import description
from phenostream.testing.readers import MemoryStore, ReaderExam, cells
from phenostream.values import Container, Plane


class TestOmeZlib(ReaderExam):
    dtypes = ("uint8", "uint16", "int16", "uint32", "float32")
    shape = (2, 2, 2, 90, 120)
    compression = "zlib"

    def make(self, folder, stack):
        folder.mkdir(exist_ok=True)
        tiff.write(folder / "a.ome.tif", stack, ome=True, compression=self.compression)
        return Container("a.ome.tif", "tiff")

    def is_pixels(self, store, key, at):
        # A page's header has no checksum: a changed offset may point to another page's strip.
        with tifffile.TiffFile(files(store, key)) as file:
            spans = [
                (s, s + n) for page in file.pages for s, n in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
        return any(start <= at < stop for start, stop in spans)


class TestOmeZstd(TestOmeZlib):
    compression = "zstd"
    checksummed = False


class TestUncompressed(TestOmeZlib):
    compression = "none"
    checksummed = False


def files(store, key):
    return io.BytesIO(store.blobs[key])


def one(folder, pixels, **layout):
    tifffile.imwrite(folder / "b.tif", pixels, **layout)
    return formats.read(MemoryStore.of(folder), Plane("b.tif", "tiff"))


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw", "predictor": True, "byteorder": ">"},
        {"tile": (64, 64)},
        {"tile": (64, 64), "compression": "zlib", "predictor": True, "byteorder": ">"},
        {"compression": "packbits", "rowsperstrip": 7},
        {"compression": "zstd", "bigtiff": True},
        {"compression": "jpeg2000"},
        {"compression": "lzma", "rowsperstrip": 50},
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_layouts_that_tifffile_writes(tmp_path, layout, dtype):
    pixels = cells((130, 157), dtype)
    found = one(tmp_path, pixels, **layout)
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype.isnative


def test_float_predictor(tmp_path):
    pixels = cells((130, 157), "float32") / 3
    np.testing.assert_array_equal(one(tmp_path, pixels, compression="zlib", predictor=True), pixels)


def test_tifffile_reads_what_is_written(tmp_path):
    stack = cells((2, 3, 2, 40, 50))
    for compression in ("zlib", "zstd", "lzw", "none"):
        path = tmp_path / f"{compression}.ome.tif"
        tiff.write(path, stack, ome=True, channels=("DNA", "ER", "AGP"), pixel_size=0.65, compression=compression)
        with tifffile.TiffFile(path) as file:
            assert file.series[0].axes == "TCZYX"
            np.testing.assert_array_equal(file.asarray(), stack)
            assert 'PhysicalSizeX="0.65"' in file.ome_metadata


def test_ome_fields(tmp_path):
    tiff.write(tmp_path / "a.tif", cells((1, 2, 1, 40, 50)), ome=True, channels=("DNA", "GFP"), pixel_size=0.65)
    (field,) = formats.fields(MemoryStore.of(tmp_path), Container("a.tif", "tiff", plate="P", well="A1"))
    assert [channel.name for channel in field.channels] == ["DNA", "GFP"]
    assert (field.pixel_size, field.id.plate, field.id.well) == (0.65, "P", "A1")


def test_imagej_order(tmp_path):
    stack = cells((3, 2, 2, 40, 50))
    tifffile.imwrite(tmp_path / "j.tif", np.swapaxes(stack, 1, 2), imagej=True, metadata={"axes": "TZCYX"})
    fields = list(formats.fields(MemoryStore.of(tmp_path), Container("j.tif", "tiff")))
    assert len(fields) == 6
    np.testing.assert_array_equal(fields[5].read(), stack[2, :, 1])


def test_plain_pages_are_times(tmp_path):
    stack = cells((5, 40, 50))
    tifffile.imwrite(tmp_path / "p.tif", stack, metadata=None)
    store = MemoryStore.of(tmp_path)
    fields = list(formats.fields(store, Container("p.tif", "tiff")))
    assert [field.id.time for field in fields] == list(range(5))
    np.testing.assert_array_equal(formats.read(store, Plane("p.tif", "tiff", t=3)), stack[3])
    np.testing.assert_array_equal(formats.read(store, Plane("p.tif", "tiff", "page/4")), stack[4])
    with pytest.raises(OutOfRangeError, match="5 pages, no page 9"):
        formats.read(store, Plane("p.tif", "tiff", "page/9"))
    with pytest.raises(OutOfRangeError, match="nonsense"):
        formats.read(store, Plane("p.tif", "tiff", "nonsense"))


def test_only_the_page_is_read_of_a_large_file(tmp_path):
    stack = cells((6, 1, 1, 700, 800))
    tiff.write(tmp_path / "a.tif", stack)
    store = MemoryStore.of(tmp_path)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        stored = sum(file.pages[4].databytecounts)
    moved = store.bytes_of(lambda: formats.read(store, Plane("a.tif", "tiff", "page/4")))
    assert moved <= 1.2 * stored


def test_grey_saved_as_colour_passes_and_colour_does_not(tmp_path):
    pixels = cells((60, 70), "uint8")
    np.testing.assert_array_equal(one(tmp_path, np.dstack([pixels] * 3), photometric="rgb"), pixels)
    with pytest.raises(WrongShapeError, match="colour"):
        one(tmp_path, np.dstack([pixels, pixels, pixels + 1]), photometric="rgb")


@pytest.mark.parametrize("wrong", ["float64", "bool", "complex64", "uint64"])
def test_other_types_are_refused(tmp_path, wrong):
    with pytest.raises(WrongDtypeError):
        one(tmp_path, np.ones((20, 20), wrong), photometric="minisblack")


def test_real_images_agree_with_tifffile(data, tmp_path):
    with zipfile.ZipFile(min((data / "nuclei").glob("*.zip"))) as archive:
        names = [name for name in archive.namelist() if name.endswith(".tif")][:6]
        archive.extractall(tmp_path, names)
    store = MemoryStore.of(tmp_path)
    for name in names:
        np.testing.assert_array_equal(formats.read(store, Plane(name, "tiff")), tifffile.imread(tmp_path / name))


def test_samples_of_the_schema(data):
    """Sizes and wells of the OME-XML samples as the schema's own authors wrote them."""
    with zipfile.ZipFile(data / "ome_idr" / "ome_xml_samples.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".xml")}
    found = description.images(texts["multi-channel-z-series-time-series.ome.xml"], 1, "x")
    assert (found[0].sizes, found[0].order) == ({"c": 2, "t": 5, "z": 5}, "zct")
    assert found[0].page(1, 4, 4, "x")[1] == 49
    plates = description.images(texts["one-screen-one-plate-four-wells.ome.xml"], 1, "x")
    assert sorted({image.well for image in plates}) == [
        "B2",
        "B3",
        "C2",
        "C3",
    ]  # rows and columns 1 and 2, counted from 0


def test_a_plane_in_a_sibling_file(tmp_path):
    """Multi-file OME-TIFF: TiffData names the file by UUID."""
    stack = cells((2, 30, 40))
    blocks = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="t{t}.tif">urn:uuid:{t}</UUID></TiffData>'
        for t in range(2)
    )
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYCZT" Type="uint16" SizeX="40" SizeY="30" SizeC="1" SizeZ="1" SizeT="2">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{blocks}</Pixels></Image></OME>'
    )
    (tmp_path / "set").mkdir()
    for t in range(2):
        tifffile.imwrite(tmp_path / "set" / f"t{t}.tif", stack[t], description=text, metadata=None)
    fields = list(formats.fields(MemoryStore.of(tmp_path), Container("set/t0.tif", "tiff")))
    assert [field.planes[0].key for field in fields] == ["set/t0.tif", "set/t1.tif"]
    for t, field in enumerate(fields):
        np.testing.assert_array_equal(field.read()[0], stack[t])


def test_entities_are_refused(tmp_path):
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha">]><OME><Image ID="&b;"/></OME>'
    tifffile.imwrite(tmp_path / "x.tif", cells((20, 20)), description=bomb, metadata=None)
    with pytest.raises(HostileError, match="entities"):
        list(formats.fields(MemoryStore.of(tmp_path), Container("x.tif", "tiff")))


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd"])
def test_a_header_that_lies_about_the_size_is_refused(tmp_path, compression):
    """Each change of width, height or rows a strip; only a height inside the last strip cannot be told."""
    pixels = cells((64, 80))
    tifffile.imwrite(tmp_path / "x.tif", pixels, compression=compression, rowsperstrip=16)
    store = MemoryStore.of(tmp_path)
    whole = store.blobs["x.tif"]
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        tags = {name: file.pages[0].tags[name] for name in ("ImageWidth", "ImageLength", "RowsPerStrip")}
    for tag in tags.values():
        for value in (1, 15, 17, 40, 65, 79, 81, 128, 60_000):
            changed = bytearray(whole)
            struct.pack_into("<H" if tag.dtype == 3 else "<I", changed, tag.valueoffset, value)
            store.blobs["x.tif"] = bytes(changed)
            with pytest.raises(DamagedError):
                formats.read(store, Plane("x.tif", "tiff"))


@pytest.mark.parametrize("layout", [{"compression": "jpeg2000"}, {"compression": "lzma", "tile": (64, 64)}, {}])
def test_touch_needs_no_decoder(tmp_path, layout):
    """The bytes that a touch moves are those that reading moves, whoever decodes them."""
    tifffile.imwrite(tmp_path / "a.tif", cells((900, 1000)), **layout)
    store, plane = MemoryStore.of(tmp_path), Plane("a.tif", "tiff")
    formats.touch(store, plane)
    touched = sorted(store.traffic)
    store.traffic.clear()
    formats.read(store, plane)
    assert sorted(store.traffic) == touched


def test_samples_in_planes_of_their_own(tmp_path):
    pixels = cells((60, 70), "uint8")
    found = one(tmp_path, np.stack([pixels] * 3), photometric="rgb", planarconfig="separate", compression="zlib")
    np.testing.assert_array_equal(found, pixels)
