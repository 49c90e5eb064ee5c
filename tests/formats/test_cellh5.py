"""CellH5: the exam, the real file against h5py, the tables, and bytes moved."""

from __future__ import annotations

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenostream import formats
from phenostream.errors import (
    DamagedError,
    EmptyError,
    NotFoundError,
    OutOfRangeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.formats import cellh5
from phenostream.testing.readers import MemoryStore, ReaderExam, cells
from phenostream.values import Container, Plane

REAL = "00001_01.ch5"
ROOT = "sample/0/plate/CPExampleTrackObjects_Sequence1/experiment/00001/position/01"


class TestExam(ReaderExam):
    dtypes = ("uint8", "uint16", "int16", "float32")
    overhead = 2.0
    shape = (2, 2, 2, 260, 400)

    def make(self, folder, stack):
        folder.mkdir(exist_ok=True)
        cellh5.write(folder / "00004_01.ch5", cellh5.Movie(np.moveaxis(stack, 0, 1), well="00004"))
        return Container("00004_01.ch5", "cellh5", study="idr0013")

    def stored(self, store, plane):
        return chunk_bytes(store.blobs[plane.key], f"{plane.inner}/image/channel", (plane.c, plane.t, plane.z))

    def is_pixels(self, store, key, at):
        # HDF5's own metadata has no checksum in the layout that CellH5 uses: only the pixels can be promised.
        return False

    def test_identity(self, fields):
        assert fields[0].id.well == "A4"
        assert fields[0].id.plate == "plate"
        assert fields[0].id.site == "1"


class TestContiguous(TestExam):
    checksummed = False

    def make(self, folder, stack):
        folder.mkdir(exist_ok=True)
        cellh5.write(folder / "00004_01.ch5", cellh5.Movie(np.moveaxis(stack, 0, 1), well="00004"), chunked=False)
        return Container("00004_01.ch5", "cellh5")

    def stored(self, store, plane):
        return 260 * 400 * 2


def chunk_bytes(blob, path, lead):
    with h5py.File(io.BytesIO(blob)) as file:
        return file[path].id.get_chunk_info_by_coord((*lead, 0, 0)).size


@pytest.fixture(scope="module")
def real(data):
    return MemoryStore({REAL: (data / "cellh5" / REAL).read_bytes()})


def test_the_real_file_reads_as_h5py_reads_it(real, data):
    fields = list(formats.fields(real, Container(REAL, "cellh5")))
    assert len(fields) == 21
    assert fields[0].id.plate == "CPExampleTrackObjects_Sequence1"
    assert fields[0].channels[0].name == "gfp"
    with h5py.File(data / "cellh5" / REAL) as file:
        for t in (0, 10, 20):
            np.testing.assert_array_equal(fields[t].read(), file[f"{ROOT}/image/channel"][:, t, 0])
            labels = formats.labels(fields[t], "primary__primary")
            assert labels.dtype == np.int32
            np.testing.assert_array_equal(labels, file[f"{ROOT}/image/region"][0, t, 0])


def test_the_real_file_moves_at_most_twice_a_frame(real):
    plane = Plane(REAL, "cellh5", ROOT, t=10)
    stored = chunk_bytes(real.blobs[REAL], f"{ROOT}/image/channel", (0, 10, 0))
    assert real.bytes_of(lambda: formats.read(real, plane)) <= 2 * stored
    real.traffic.clear()
    formats.read(real, plane)
    assert len(real.traffic) <= 4


def test_the_real_tables_agree_with_the_label_images(real):
    position = cellh5.positions(real, REAL)[0]
    (region,) = position.regions()
    assert region == cellh5.Region("primary__primary", 0, 0)
    objects, features = position.objects(region.name), position.features(region.name)
    assert objects.num_rows == features.num_rows == 677
    assert {"x", "y", "left", "right", "top", "bottom", "area", "intensity_mean"} <= set(features.column_names)
    table = objects.to_pandas().join(features.to_pandas())
    for t in (0, 7, 20):
        labels, pixels = position.labels(region.name, t), position.plane(0, t, 0)
        rows = table[table.time == t].set_index("ObjectNumber")
        assert sorted(rows.index) == list(np.unique(labels)[1:])
        for number, row in rows.iterrows():
            inside = labels == number
            assert row.area == inside.sum()
            assert row.intensity_mean == pytest.approx(pixels[inside].mean(), rel=1e-5)


def test_what_the_real_file_lacks_is_named(real):
    position = cellh5.positions(real, REAL)[0]
    for ask in (position.tracks, position.timestamps, lambda: position.classes("primary__primary")):
        with pytest.raises(NotFoundError, match="no "):
            ask()
    with pytest.raises(NotFoundError, match="primary__primary"):
        position.labels("cytoplasm", 0)
    with pytest.raises(OutOfRangeError, match=r"0 to 20.*count frames from 1"):
        position.plane(0, 21, 0)
    with pytest.raises(NotFoundError, match="00002"):
        formats.read(real, Plane(REAL, "cellh5", ROOT.replace("00001", "00002")))


@pytest.fixture
def segmented():
    labels = np.zeros((4, 60, 80), np.uint16)
    labels[:, 5:11, 10:20] = 3
    labels[1:, 30:41, 60:71] = 8
    return cellh5.Segmented(
        labels,
        features=np.arange(14, dtype=np.float32).reshape(7, 2),
        feature_names=("n_avg", "n_stddev"),
        classes=("Interphase", "Metaphase"),
        predictions=np.array([0, 1, 0, -1, 1, 0, 0]),
        probabilities=np.linspace(0, 1, 14, dtype=np.float32).reshape(7, 2),
    )


@pytest.fixture
def movie(segmented):
    return cellh5.Movie(
        cells((2, 4, 1, 60, 80), "uint8"),
        plate="LT0001_02--ex2005_11_16--sp2005_02_17--tt17--c3",
        well="00025",
        site="1",
        regions={"primary__test": segmented},
        tracks=np.array([[0, 1], [1, 3], [2, 4]]),
        timestamps=np.arange(4) * 1800.0 + 7,
    )


@pytest.fixture
def full(tmp_path, movie):
    cellh5.write(tmp_path / "full.ch5", movie, channels=("H2B", "Tubulin"), pixel_size=0.645)
    return MemoryStore.of(tmp_path)


def test_every_group_is_written_and_read(full, movie, segmented):
    (position,) = cellh5.positions(full, "full.ch5")
    assert (position.plate, position.well, position.site) == (movie.plate, "B1", "1")
    assert position.summary().channels == (("H2B", ""), ("Tubulin", ""))
    assert position.summary().pixel_size == 0.645
    assert position.objects("primary__test").to_pydict() == {
        "time": [0, 1, 1, 2, 2, 3, 3],
        "ObjectNumber": [3, 3, 8, 3, 8, 3, 8],
    }
    features = position.features("primary__test")
    assert features.column_names == ["x", "y", "left", "right", "top", "bottom", "n_avg", "n_stddev"]
    assert features.slice(2, 1).to_pylist()[0] == {
        "x": 65, "y": 35, "left": 60, "right": 70, "top": 30, "bottom": 40, "n_avg": 4.0, "n_stddev": 5.0,
    }  # fmt: skip
    assert position.classes("primary__test")["name"].to_pylist() == ["Interphase", "Metaphase"]
    predictions = position.predictions("primary__test")
    assert predictions["class"].to_pylist()[:4] == ["Interphase", "Metaphase", "Interphase", None]
    np.testing.assert_array_equal(predictions["probability_Metaphase"], segmented.probabilities[:, 1])
    assert position.tracks().to_pydict() == {"source": [0, 1, 2], "target": [1, 3, 4]}
    np.testing.assert_array_equal(position.timestamps(), [0, 1800, 3600, 5400])


def test_h5py_alone_reads_what_is_written(tmp_path, full, movie, segmented):
    root = f"sample/0/plate/{movie.plate}/experiment/00025/position/1"
    with h5py.File(tmp_path / "full.ch5") as file:
        image = file[f"{root}/image/channel"]
        assert image.chunks == (1, 1, 1, 60, 80)
        assert image.compression == "gzip"
        np.testing.assert_array_equal(image, movie.pixels)
        np.testing.assert_array_equal(file[f"{root}/image/region"][0, :, 0], segmented.labels)
        assert file[f"{root}/object/primary__test"].dtype.names == ("time_idx", "obj_label_id")
        assert file[f"{root}/object/tracking"].dtype.names == ("obj_idx1", "obj_idx2")
        assert file[f"{root}/feature/primary__test/object_classification/prediction"].dtype.names == ("label_idx",)
        assert file["definition/image/region"]["region_name"][0] == b"primary__test"


def test_written_layout_is_that_of_the_real_file(tmp_path, data, full):
    """Every group and data set of CellH5's own writer that we write too has the same column names and types."""
    with h5py.File(data / "cellh5" / REAL) as theirs, h5py.File(tmp_path / "full.ch5") as ours:
        pairs = {
            "definition/image/channel": "definition/image/channel",
            "definition/image/region": "definition/image/region",
            "definition/object/primary__primary": "definition/object/primary__test",
            "definition/feature/primary__primary/center": "definition/feature/primary__test/center",
            "definition/feature/primary__primary/object_features": "definition/feature/primary__test/object_features",
        }
        mine = next(iter(ours["sample/0/plate"].values()))["experiment/00025/position/1"]
        for left, right in pairs.items():
            assert theirs[left].dtype == ours[right].dtype
        for part in ("object/{}", "feature/{}/center", "feature/{}/bounding_box"):
            assert theirs[ROOT][part.format("primary__primary")].dtype == mine[part.format("primary__test")].dtype


def test_same_input_same_bytes(tmp_path, movie):
    for name in "ab":
        cellh5.write(tmp_path / name, movie)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_several_positions_in_one_file(tmp_path, movie):
    second = dataclasses.replace(movie, well="B03", site="02", regions={}, tracks=None, timestamps=None)
    cellh5.write(tmp_path / "two.ch5", [movie, second])
    store = MemoryStore.of(tmp_path)
    assert [(p.well, p.site) for p in cellh5.positions(store, "two.ch5")] == [("B1", "1"), ("B3", "2")]
    with pytest.raises(NotFoundError, match="2 positions"):
        formats.read(store, Plane("two.ch5", "cellh5"))
    fields = list(formats.fields(store, Container("two.ch5", "cellh5", plate="P", study="S")))
    assert len(fields) == 8
    assert {field.id.plate for field in fields} == {"P"}


def test_an_old_region_name_loses_its_prefix(tmp_path, full):
    with h5py.File(tmp_path / "full.ch5", "r+") as file:
        rows = file["definition/image/region"][:]
        rows["region_name"] = b"region___primary__test"
        file["definition/image/region"][:] = rows
    (position,) = cellh5.positions(MemoryStore.of(tmp_path), "full.ch5")
    assert position.regions()[0].name == "primary__test"


def test_a_movie_without_frames_is_empty(tmp_path):
    cellh5.write(tmp_path / "e.ch5", cellh5.Movie(np.empty((1, 0, 1, 20, 20), np.uint8)))
    with pytest.raises(EmptyError, match="shape"):
        list(formats.fields(MemoryStore.of(tmp_path), Container("e.ch5", "cellh5")))


def test_wrong_input_is_refused(tmp_path, movie, segmented):
    with pytest.raises(WrongShapeError):
        cellh5.write(tmp_path / "x", cellh5.Movie(np.zeros((20, 20), np.uint8)))
    with pytest.raises(WrongDtypeError, match="float64"):
        cellh5.write(tmp_path / "x", cellh5.Movie(np.zeros((1, 1, 1, 20, 20))))
    short = dataclasses.replace(segmented, features=np.zeros((3, 2), np.float32))
    with pytest.raises(WrongShapeError, match="3 rows for 7"):
        cellh5.write(tmp_path / "x", dataclasses.replace(movie, regions={"a": short}))


def test_a_frame_that_was_never_written_is_missing(tmp_path):
    with h5py.File(tmp_path / "h.ch5", "w") as file:
        image = file.create_dataset(
            "sample/0/plate/P/experiment/00001/position/1/image/channel",
            (1, 3, 1, 50, 50),
            "u1",
            chunks=(1, 1, 1, 50, 50),
            compression="gzip",
        )
        image[0, 0] = 1
    store = MemoryStore.of(tmp_path)
    assert (formats.read(store, Plane("h.ch5", "cellh5")) == 1).all()
    with pytest.raises(NotFoundError, match="missing"):
        formats.read(store, Plane("h.ch5", "cellh5", t=2))


@pytest.mark.parametrize("wrong", ["float64", "bool", "complex64"])
def test_other_types_are_refused(tmp_path, wrong):
    with h5py.File(tmp_path / "h.ch5", "w") as file:
        file["sample/0/plate/P/experiment/00001/position/1/image/channel"] = np.zeros((1, 1, 1, 50, 50), wrong)
    with pytest.raises(WrongDtypeError, match=wrong):
        formats.read(MemoryStore.of(tmp_path), Plane("h.ch5", "cellh5"))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 3)] * 3, st.integers(1, 40), st.integers(1, 40)),
    chunks=st.tuples(*[st.integers(1, 3)] * 3, st.integers(1, 17), st.integers(1, 17)),
    filters=st.sampled_from([{}, {"compression": "gzip"}, {"compression": 9, "shuffle": True}, {"fletcher32": True}]),
    extra=st.booleans(),
    dtype=st.sampled_from(["u1", "<u2", ">u2", "<i4", "<f4"]),
)
def test_any_chunking_and_filter_reads_as_h5py_reads_it(tmp_path_factory, shape, chunks, filters, extra, dtype):
    folder = tmp_path_factory.mktemp("h5")
    stack = cells(shape, dtype)
    layout = {**filters, "fletcher32": extra or "fletcher32" in filters}
    chunks = tuple(min(pair) for pair in zip(chunks, shape, strict=True))
    path = "sample/0/plate/P/experiment/00001/position/1/image/channel"
    with h5py.File(folder / "any.ch5", "w") as file:
        file.create_dataset(path, data=stack, chunks=chunks, **layout)
    store = MemoryStore.of(folder)
    c, t, z = (size - 1 for size in shape[:3])
    found = formats.read(store, Plane("any.ch5", "cellh5", c=c, t=t, z=z))
    np.testing.assert_array_equal(found, stack[c, t, z])


def test_the_newest_file_layout_is_read_too(tmp_path):
    stack = cells((1, 40, 1, 64, 64), "uint16")
    with h5py.File(tmp_path / "new.ch5", "w", libver="latest") as file:
        path = "sample/0/plate/P/experiment/00001/position/1/image/channel"
        file.create_dataset(path, data=stack, chunks=(1, 1, 1, 64, 64), compression="gzip")
    store = MemoryStore.of(tmp_path)
    np.testing.assert_array_equal(formats.read(store, Plane("new.ch5", "cellh5", t=39)), stack[0, 39, 0])


def test_damage_under_a_checksum_is_noticed(tmp_path):
    """Pixels of a gzip chunk (Adler-32) with any one bit flipped are refused."""
    cellh5.write(tmp_path / "a.ch5", cellh5.Movie(cells((1, 1, 1, 64, 64))))
    store = MemoryStore.of(tmp_path)
    whole = store.blobs["a.ch5"]
    with h5py.File(io.BytesIO(whole)) as file:
        info = file["sample/0/plate/plate/experiment/00001/position/01/image/channel"].id.get_chunk_info(0)
    for at in range(info.byte_offset, info.byte_offset + info.size, 97):
        store.blobs["a.ch5"] = whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :]
        with pytest.raises(DamagedError):
            formats.read(store, Plane("a.ch5", "cellh5"))


def test_many_threads_read_at_once(real):
    """HDF5 has one lock; no thread may wait for another one's bytes while it holds it, nor see its file."""
    planes = [Plane(REAL, "cellh5", ROOT, t=t % 21) for t in range(64)]
    truth = {plane.t: formats.read(real, plane) for plane in planes[:21]}
    with ThreadPoolExecutor(8) as pool:
        for plane, found in zip(planes, pool.map(lambda plane: formats.read(real, plane), planes), strict=True):
            np.testing.assert_array_equal(found, truth[plane.t])
