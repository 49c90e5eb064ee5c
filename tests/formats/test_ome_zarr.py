"""OME-Zarr: the exam in both versions, the specification's examples, bytes moved, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from phenostream import formats
from phenostream.errors import (
    DamagedError,
    NotFoundError,
    OutOfRangeError,
    PhenostreamError,
    RecipeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.formats import ome_zarr
from phenostream.formats.ome_zarr import metadata
from phenostream.testing.readers import MemoryStore, ReaderExam, cells
from phenostream.values import Container, Plane


class Exam(ReaderExam):
    """One well, one site; a chunk tests that a plane of several chunks is put together."""

    dtypes = ("uint8", "uint16", "int16", "uint32", "float32")
    overhead = 1.15
    layout = ome_zarr.Layout()

    shape = (2, 2, 2, 200, 230)

    def make(self, folder, stack):
        ome_zarr.write_plate(folder / "p.zarr", [ome_zarr.WellImage("B3", stack)], name="P", layout=self.layout)
        return Container("p.zarr", "ome_zarr")

    def stored(self, store, plane):
        prefix = f"{plane.key}/{plane.inner}/" + ("c/" if self.layout.version == "0.5" else "")
        place = f"{plane.t}/{plane.c}/{plane.z}/"
        return sum(len(blob) for key, blob in store.blobs.items() if key.startswith(prefix + place))

    def is_pixels(self, store, key, at):
        return not key.rpartition("/")[2].startswith((".z", "zarr.json"))


class TestVersion04(Exam):
    layout = ome_zarr.Layout(version="0.4", chunks=(128, 150), levels=2)


class TestVersion05(Exam):
    layout = ome_zarr.Layout(version="0.5", chunks=(128, 150), levels=2)


class TestBlosc05(Exam):
    layout = ome_zarr.Layout(version="0.5", compressor="blosc", chunks=(200, 400))


class TestUncompressed05(Exam):
    layout = ome_zarr.Layout(version="0.5", compressor="none")


class TestBlosc04(Exam):
    layout = ome_zarr.Layout(version="0.4", compressor="blosc")
    checksummed = False


class TestSharded(Exam):
    layout = ome_zarr.Layout(version="0.5", chunks=(128, 150), shards=(3, 2, 1, 1, 2))

    def stored(self, store, plane):
        unsharded = dataclasses.replace(self.layout, shards=None)
        pixels = formats.read(store, plane)[None, None, None]
        return sum(len(blob) for blob in encoded(pixels, unsharded).values())


def encoded(stack, layout):
    """Chunk blobs of a stack, by zarr-python."""
    blobs = {}
    array = zarr.create_array(
        zarr.storage.MemoryStore(blobs),
        shape=stack.shape,
        dtype=stack.dtype,
        chunks=(1, 1, 1, *layout.chunks),
        compressors=[zarr.codecs.ZstdCodec(level=3, checksum=True)],
        config={"write_empty_chunks": True},
    )
    array[...] = stack
    return {key: blob.to_bytes() for key, blob in blobs.items() if "json" not in key}


def places(fields):
    return [(field.id.plate, field.id.well, field.id.site, field.id.time) for field in fields]


def plate(folder, stacks, **layout):
    images = [ome_zarr.WellImage(well, stack) for well, stack in stacks]
    ome_zarr.write_plate(folder / "p.zarr", images, name="LT0001_02", layout=ome_zarr.Layout(**layout))
    return MemoryStore.of(folder)


@pytest.fixture
def stack():
    return cells((2, 2, 1, 60, 70))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_plate_identity(tmp_path, stack, version):
    wells = [("A1", stack), ("B03", stack + 1), ("A1", stack + 2)]
    store = plate(tmp_path, wells, version=version, channels=("DNA", "GFP"), pixel_size=0.645)
    fields = list(formats.fields(store, Container("p.zarr", "ome_zarr", study="idr0013")))
    assert places(fields[::2]) == [
        ("LT0001_02", "A1", "1", 0),
        ("LT0001_02", "A1", "2", 0),
        ("LT0001_02", "B3", "1", 0),
    ]
    assert [channel.name for channel in fields[0].channels] == ["DNA", "GFP"]
    assert fields[0].pixel_size == 0.645
    assert fields[0].id.study == "idr0013"
    np.testing.assert_array_equal(fields[2].read(), stack[0, :, 0] + 2)
    only = list(formats.fields(store, Container("p.zarr", "ome_zarr", plate="other", well="B3")))
    assert {(field.id.plate, field.id.well) for field in only} == {("other", "B3")}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("compressor", ["zstd", "blosc", "none"])
def test_zarr_python_reads_what_is_written(tmp_path, stack, version, compressor):
    plate(tmp_path, [("H12", stack)], version=version, compressor=compressor, levels=3)
    group = zarr.open_group(tmp_path / "p.zarr", mode="r")
    np.testing.assert_array_equal(group["H/12/0/0"][...], stack)
    means = stack[..., :60, :70].reshape(2, 2, 1, 30, 2, 35, 2).mean(axis=(4, 6))
    np.testing.assert_allclose(group["H/12/0/1"][...], means, atol=0.5)
    assert group["H/12/0/2"].shape == (2, 2, 1, 15, 17)
    attrs = group["H/12/0"].attrs.asdict()
    attrs = attrs["ome"] if version == "0.5" else attrs
    assert [dataset["path"] for dataset in attrs["multiscales"][0]["datasets"]] == ["0", "1", "2"]


def test_same_input_same_bytes(tmp_path, stack):
    for version, shards in (("0.4", None), ("0.5", None), ("0.5", (1, 2, 1, 2, 2))):
        for compressor in ("zstd", "blosc", "none"):
            layout = {"version": version, "compressor": compressor, "shards": shards, "chunks": (32, 32), "levels": 2}
            name = f"{version}{compressor}{bool(shards)}"
            first = plate(tmp_path / name / "a", [("A1", stack)], **layout)
            assert plate(tmp_path / name / "b", [("A1", stack)], **layout).blobs == first.blobs


def test_black_chunks_are_written_too(tmp_path):
    store = plate(tmp_path, [("A1", np.zeros((1, 1, 1, 20, 20), np.uint8))])
    assert "p.zarr/A/1/0/0/0/0/0/0/0" in store.blobs
    assert not formats.read(store, Plane("p.zarr", "ome_zarr", "A/1/0/0")).any()


def test_any_resolution_and_the_image_itself(tmp_path, stack):
    store = plate(tmp_path, [("A4", stack)], levels=2)
    plane = Plane("p.zarr", "ome_zarr", "A/4/0/1", c=1, t=1)
    assert formats.read(store, plane).shape == (30, 35)
    finest = formats.read(store, dataclasses.replace(plane, inner="A/4/0"))
    np.testing.assert_array_equal(finest, stack[1, 1, 0])


def test_a_single_image(tmp_path, stack):
    ome_zarr.write_image(tmp_path / "i.zarr", stack[0, :, 0], layout=ome_zarr.Layout(version="0.5", levels=2))
    store = MemoryStore.of(tmp_path)
    (field,) = formats.fields(store, Container("i.zarr", "ome_zarr", plate="P", well="C7"))
    assert (field.id.well, field.id.plate, field.planes[0].inner) == ("C7", "P", "0")
    np.testing.assert_array_equal(field.read(), stack[0, :, 0])
    inside = MemoryStore.of(tmp_path / "i.zarr")
    (root,) = formats.fields(inside, Container("", "ome_zarr"))
    np.testing.assert_array_equal(root.read(), stack[0, :, 0])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels(tmp_path, version):
    pixels = cells((2, 1, 1, 40, 50))
    labels = np.zeros((2, 40, 50), np.int32)
    labels[0, 3:9, 4:10], labels[1, 20:30, 4:10] = 7, 70_000
    layout = ome_zarr.Layout(version=version, levels=2)
    image = ome_zarr.WellImage("A1", pixels, {"nuclei": labels, "cells": labels * 0})
    ome_zarr.write_plate(tmp_path / "p.zarr", [image], layout=layout)
    fields = list(formats.fields(MemoryStore.of(tmp_path), Container("p.zarr", "ome_zarr")))
    np.testing.assert_array_equal(formats.labels(fields[1], "nuclei"), labels[1])
    assert formats.labels(fields[0]).max() == 0
    assert formats.labels(fields[0]).dtype == np.int32
    with pytest.raises(NotFoundError, match="cells, nuclei"):
        formats.labels(fields[0], "golgi")


def test_labels_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(WrongShapeError):
        ome_zarr.write_image(tmp_path / "a", np.zeros((9, 9), np.uint8), labels={"n": np.zeros((9, 8), np.int32)})
    with pytest.raises(WrongDtypeError):
        ome_zarr.write_image(tmp_path / "b", np.zeros((9, 9), np.uint8), labels={"n": np.zeros((9, 9))})


def archive_plate(folder, stack):
    """A plate as bioformats2raw writes it for the IDR: Zarr v2, 4 resolutions, blosc lz4, nested keys, omero, OME."""
    root = folder / "729ccf2c.zarr"
    for level in range(4):
        array = zarr.create_array(
            zarr.storage.LocalStore(root / "A/4/0"),
            name=str(level),
            data=stack[..., :: 2**level, :: 2**level],
            chunks=(1, 1, 1, 1024, 1024),
            compressors=numcodecs.Blosc("lz4", 5, 1),
            zarr_format=2,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        assert array.metadata.zarr_format == 2
    axes = [
        {"name": n, "type": k} for n, k in zip("tczyx", ("time", "channel", "space", "space", "space"), strict=True)
    ]
    scales = [{"type": "scale", "scale": [1.0, 1.0, 1.0, 2.0**n, 2.0**n]} for n in range(4)]
    datasets = [{"path": str(n), "coordinateTransformations": [scale]} for n, scale in enumerate(scales)]
    documents = {
        "": {
            "bioformats2raw.layout": 3,
            "plate": {
                "columns": [{"name": str(n)} for n in range(1, 25)],
                "rows": [{"name": n} for n in "ABCDEFGHIJKLMNOP"],
                "name": "LT0001_02",
                "version": "0.4",
                "field_count": 1,
                "acquisitions": [{"id": 0}],
                "wells": [{"path": "A/4", "rowIndex": 0, "columnIndex": 3}],
            },
        },
        "A/4": {"well": {"version": "0.4", "images": [{"path": "0", "acquisition": 0}]}},
        "A/4/0": {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets, "metadata": {}, "name": ""}]},
        "OME": {"series": ["A/4/0"]},
    }
    for place, document in documents.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        (root / place / ".zattrs").write_text(json.dumps(document))
        (root / place / ".zgroup").write_text('{"zarr_format": 2}')
    return MemoryStore.of(folder)


@pytest.mark.parametrize(("dtype", "size"), [("uint8", (512, 512)), ("uint16", (512, 512)), ("uint8", (1024, 1344)),
                                             ("uint16", (1024, 1344))])  # fmt: skip
def test_an_archive_plate_moves_little_more_than_the_frame(tmp_path, dtype, size):
    stack = cells((3, 1, 1, *size), dtype)
    store = archive_plate(tmp_path, stack)
    plane = Plane("729ccf2c.zarr", "ome_zarr", "A/4/0/0", t=1)
    moved = store.bytes_of(lambda: np.testing.assert_array_equal(formats.read(store, plane), stack[1, 0, 0]))
    stored = sum(len(blob) for key, blob in store.blobs.items() if key.startswith("729ccf2c.zarr/A/4/0/0/1/"))
    assert moved <= 1.03 * stored
    assert len(store.asked) == 2 + (2 if size[1] > 1024 else 1)
    fields = list(formats.fields(store, Container("729ccf2c.zarr", "ome_zarr")))
    assert places(fields) == [("LT0001_02", "A4", "1", t) for t in range(3)]


def test_channels_of_a_field_share_their_metadata(tmp_path):
    store = plate(tmp_path, [("A1", cells((1, 4, 1, 40, 40)))])
    (field,) = formats.fields(store, Container("p.zarr", "ome_zarr"))
    store.asked.clear()
    field.read()
    assert len(store.asked) == 2 + 4


def test_what_is_not_there_is_named(tmp_path, stack):
    store = plate(tmp_path, [("A1", stack)])
    plane = Plane("p.zarr", "ome_zarr", "A/1/0/0")
    cases = {
        "no well C/2": dataclasses.replace(plane, inner="C/2/0/0"),
        "no plate or image at q.zarr": dataclasses.replace(plane, key="q.zarr"),
        "no image or resolution 'A/1/5/0'": dataclasses.replace(plane, inner="A/1/5/0"),
        "no image or resolution 'A/1/0/7'": dataclasses.replace(plane, inner="A/1/0/7"),
    }
    for words, missing in cases.items():
        with pytest.raises(NotFoundError, match=words):
            formats.read(store, missing)
    with pytest.raises(OutOfRangeError, match=r"frame 2 is outside 0 to 1.*count frames from 1"):
        formats.read(store, dataclasses.replace(plane, t=2))
    with pytest.raises(NotFoundError, match="no OME-Zarr group"):
        list(formats.fields(store, Container("q.zarr", "ome_zarr")))


@pytest.mark.parametrize("layout", [{}, {"version": "0.5"}, {"version": "0.5", "shards": (2, 2, 1, 1, 1)}])
def test_a_missing_chunk_is_named(tmp_path, stack, layout):
    store = plate(tmp_path, [("A1", stack)], **layout)
    plane = Plane("p.zarr", "ome_zarr", "A/1/0/0", t=1)
    name = {"0.4": "1/0/0/0/0", "0.5": "c/1/0/0/0/0"}[layout.get("version", "0.4")]
    key = "p.zarr/A/1/0/0/" + ("c/0/0/0/0/0" if "shards" in layout else name)
    del store.blobs[key]
    with pytest.raises(NotFoundError, match=key):
        formats.read(store, plane)


@pytest.mark.parametrize("wrong", ["float64", "bool", "complex64", "int64", "float16"])
@pytest.mark.parametrize("version", [2, 3])
def test_other_types_are_refused(tmp_path, stack, wrong, version):
    store = plate(tmp_path, [("A1", stack)], version="0.4" if version == 2 else "0.5")
    for key in [key for key in store.blobs if "/A/1/0/0/" in key]:
        del store.blobs[key]
    array = zarr.create_array(
        zarr.storage.LocalStore(tmp_path / "other"), name="0", data=stack.astype(wrong), zarr_format=version
    )
    assert array.dtype == wrong
    store.blobs |= {f"p.zarr/A/1/0/{key}": blob for key, blob in MemoryStore.of(tmp_path / "other").blobs.items()
                    if key.startswith("0/")}  # fmt: skip
    with pytest.raises(WrongDtypeError, match=wrong):
        formats.read(store, Plane("p.zarr", "ome_zarr", "A/1/0/0"))


def test_the_writer_refuses_what_no_reader_takes(tmp_path, stack):
    with pytest.raises(RecipeError, match="not empty"):
        ome_zarr.write_image(tmp_path / ".", stack) if (tmp_path / "x").write_text("") == 0 else None
    with pytest.raises(WrongShapeError):
        ome_zarr.write_image(tmp_path / "a", stack[0])
    with pytest.raises(WrongDtypeError):
        ome_zarr.write_image(tmp_path / "b", stack.astype(float))
    with pytest.raises(RecipeError, match="well"):
        plate(tmp_path / "c", [("nowhere", stack)])
    with pytest.raises(RecipeError, match="shards"):
        ome_zarr.Layout(version="0.4", shards=(1, 1, 1, 1, 1))


@pytest.fixture(scope="module")
def examples(data):
    def unpack(name):
        with zipfile.ZipFile(data / "ome_idr" / name) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}

    return {
        "0.4": MemoryStore(unpack("ome_zarr_v04_examples.zip")),
        "spec": MemoryStore(unpack("ome_zarr_spec_metadata_v04_v05_v06.zip")),
    }


@pytest.mark.parametrize("name", ["valid/image-01", "valid/image-02", "valid/image-04", "warning/image-01"])
def test_valid_examples_open(examples, name):
    fields = list(formats.fields(examples["0.4"], Container(f"{name}.zarr", "ome_zarr")))
    assert len(fields) == (2 if name.endswith("04") else 1)
    # Their arrays are of 64 bits, which is fine for the format and not for us.
    with pytest.raises(WrongDtypeError):
        fields[0].read()


@pytest.mark.parametrize("name", ["invalid/image-01", "invalid/image-02"])
def test_invalid_examples_are_refused(examples, name):
    with pytest.raises(DamagedError, match="multiscales"):
        list(formats.fields(examples["0.4"], Container(f"{name}.zarr", "ome_zarr")))


def test_the_plate_example_of_the_specification(examples):
    key = "examples/v04/hcs_example.ome.zarr"
    fields = list(formats.fields(examples["spec"], Container(key, "ome_zarr")))
    assert set(places(fields)) == {("hcs_example", "B3", "1", 0)}
    assert fields[0].planes[0].inner == "B/03/0/0"
    with pytest.raises(NotFoundError, match=r"chunk .*B/03/0/0/0.*missing"):
        fields[0].read()


def test_documents_of_the_specification(examples):
    blobs = examples["spec"].blobs

    def load(name):
        told = json.loads(blobs[f"examples/{name}"])
        return told.get("ome", told)

    for version in ("v04", "v05"):
        for number, wells in ((1, 6), (2, 2)):
            told = load(f"{version}/plate_example_{number}.json")
            assert len(metadata.plate({"plate": told.get("plate", told)}, "x").wells) == wells
        image = "multiscales" if version == "v04" else "image"
        scales = metadata.multiscale(load(f"{version}/{image}_example.json"), "x")
        assert scales.axes[-2:] == ("y", "x")
        assert scales.pixel_sizes[0] == pytest.approx(0.3603981534640209 if version == "v04" else 0.5)
        name = "well_example_1" if version == "v04" else "well_example"
        assert metadata.well_images(load(f"{version}/{name}.json"), "x") == ("0", "1", "2", "3")
    with pytest.raises(DamagedError, match=r"0\.6\.dev4"):
        metadata.plate(load("v06/hcs_example.json"), "x")
    with pytest.raises(PhenostreamError):
        metadata.multiscale(load("v06/image_example.json"), "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": None}, "no axes"),
        ({"axes": [{"name": "x"}, {"name": "y"}]}, "axes"),
        ({"axes": [{"name": "y"}, {"name": "y"}, {"name": "x"}]}, "axes"),
        ({"datasets": []}, "no datasets"),
        ({"datasets": [{"path": "0"}]}, "without a scale"),
        ({"datasets": [{"coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}]}, "without path"),
        ({"datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1]}]}]}, "positive"),
        ({"datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0, 1]}]}]}, "positive"),
        ({"version": "0.6"}, "0.6"),
    ],
)
def test_each_rule_has_its_words(change, words):
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    image = {"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    assert metadata.multiscale({"multiscales": [image]}, "x").paths == ("0",)
    with pytest.raises(DamagedError, match=words):
        metadata.multiscale({"multiscales": [image | change]}, "x")


def test_pixel_sizes():
    def size(y, x, unit="micrometer", common=(1.0, 1.0)):
        axes = [{"name": n, "type": "space", **({"unit": unit} if unit else {})} for n in "yx"]
        steps = [{"type": "scale", "scale": [y, x]}]
        image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}],
                 "coordinateTransformations": [{"type": "scale", "scale": list(common)}]}  # fmt: skip
        return metadata.multiscale({"multiscales": [image]}, "x").pixel_sizes[0]

    assert size(0.5, 0.5) == 0.5
    assert size(500.0, 500.0, "nanometer") == pytest.approx(0.5)
    assert size(0.5, 0.5, common=(2.0, 2.0)) == 1.0
    assert size(0.5, 0.6) is None
    assert size(1.0, 1.0, "") is None


AXES = st.sampled_from(["yx", "cyx", "tyx", "zyx", "tcyx", "czyx", "tczyx", "ctzyx", "ztcyx"])


@settings(max_examples=25, deadline=None)
@given(
    axes=AXES,
    version=st.sampled_from([2, 3]),
    separator=st.sampled_from([".", "/"]),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    chunk=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    together=st.booleans(),
    dtype=st.sampled_from(["u1", "<u2", ">u2", "<f4"]),
    order=st.sampled_from("CF"),
)
def test_any_axes_and_chunks_read_as_zarr_reads_them(
    tmp_path_factory, axes, version, separator, size, chunk, together, dtype, order
):
    """Axes in any subset and order, big-endian bytes, Fortran order, several planes in a chunk."""
    folder = tmp_path_factory.mktemp("zarr")
    shape = (*((2,) * (len(axes) - 2)), *size)
    stack = cells(shape, dtype)
    lead = tuple(2 if together else 1 for _ in axes[:-2])
    zarr.create_array(
        zarr.storage.LocalStore(folder),
        name="0",
        data=stack,
        chunks=(*lead, *chunk),
        order=order if version == 2 else None,
        zarr_format=version,
        chunk_key_encoding={"name": "v2" if version == 2 else "default", "separator": separator},
        config={"write_empty_chunks": True},
    )
    scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    image = {
        "axes": [{"name": axis} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    if version == 2:
        (folder / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    else:
        told = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"multiscales": [image]}}}
        (folder / "zarr.json").write_text(json.dumps(told))
    place = dict.fromkeys(axes[:-2], 1)
    plane = Plane("", "ome_zarr", "0", **place)
    found = formats.read(MemoryStore.of(folder), plane)
    np.testing.assert_array_equal(found, stack[tuple(1 for _ in axes[:-2])])
