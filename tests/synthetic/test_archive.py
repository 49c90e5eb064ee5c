"""Synthetic archives, read back through the catalogs and readers that real ones go through."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from phenostream import formats
from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.formats import cellh5
from phenostream.sources import catalogs, open_store
from phenostream.synthetic import Design, RangeServer, demo_archive, scenes, wells, write_archive
from phenostream.synthetic.layouts import REGION

DESIGN = Design(
    rows=2, columns=3, frames=2, shape=(128, 160), nuclei=6, troubles={"A2": "missing", "B2": "damaged", "B3": "empty"}
)
SECOND = Design(name="LT0002_05", rows=1, columns=2, frames=2, shape=(128, 160), nuclei=6)


@pytest.fixture(scope="module", params=["zarr", "zarr-0.5", "cellh5", "tiff", "png"])
def archive(request, tmp_path_factory):
    layout, _, version = request.param.partition("-")
    return write_archive(
        tmp_path_factory.mktemp("archive") / request.param, [DESIGN, SECOND], layout=layout, version=version or "0.4"
    )


def fields(archive, base=""):
    settings = catalogs.parse(archive.source(base))
    store = open_store(catalogs.base(settings))
    return [(field, store) for field in catalogs.units(settings, store)]


def true_frame(field):
    design = DESIGN if field.id.plate == DESIGN.name else SECOND
    well = next(one for one in wells(design) if one.name == field.id.well)
    return list(scenes(design, well))[field.id.time]


def test_every_good_field_comes_back_pixel_for_pixel(archive):
    read = 0
    for field, store in fields(archive):
        if field.id.plate == DESIGN.name and field.id.well in ("A2", "B2"):
            continue
        np.testing.assert_array_equal(formats.attach(field, store).read(), true_frame(field).image)
        read += 1
    assert read == 4 * 2 + 2 * 2


def test_bad_fields_are_refused_by_their_reason(archive):
    found = fields(archive)
    if archive.layout in ("zarr", "cellh5"):
        assert Counter(field.id.well for field, _ in found if field.id.plate == DESIGN.name)["A2"] == 2
    for field, store in found:
        if (field.id.plate, field.id.well) == (DESIGN.name, "A2"):
            with pytest.raises(NotFoundError):
                formats.attach(field, store).read()
    broken = [one for one in found if (one[0].id.plate, one[0].id.well) == (DESIGN.name, "B2")]
    reasons = [_reason(field, store) for field, store in broken]
    assert DamagedError.reason in reasons
    assert set(reasons) <= {DamagedError.reason, "read"}


def _reason(field, store):
    try:
        formats.attach(field, store).read()
    except (DamagedError, NotFoundError) as error:
        return error.reason
    return "read"


def test_identities_and_annotations(archive):
    found = [field for field, _ in fields(archive)]
    assert {field.id.plate for field in found} == {"LT0001_02", "LT0002_05"}
    assert {field.id.time for field in found} == {0, 1}
    assert {field.id.study for field in found} == {"idr0013"}
    (control,) = {field.annotation["Control"] for field in found if field.id.well == "A1"}
    assert control == "negative control"
    assert {field.annotation["Dose"] for field in found if field.id.well == "B2"} <= {"0.1"}


def test_the_truth_beside_it(archive):
    table = pq.read_table(archive.truth / "nuclei.parquet").to_pylist()
    scene = list(scenes(SECOND, wells(SECOND)[1]))[1]
    rows = [row for row in table if (row["Plate"], row["Well"], row["Frame"]) == ("LT0002_05", "A2", 2)]
    assert [row["ObjectNumber"] for row in rows] == list(range(1, len(scene.cells) + 1))
    np.testing.assert_allclose([(row["Center_Y"], row["Center_X"]) for row in rows], scene.centroids)
    labels = np.load(archive.truth / "labels" / "LT0002_05_A2_s1_f2.npz")["labels"]
    np.testing.assert_array_equal(labels, scene.labels)
    with np.load(archive.truth / "illumination.npz") as told:
        np.testing.assert_array_equal(told["flatfield"], scene.flatfield)
        np.testing.assert_array_equal(told["darkfield"], scene.darkfield)
    with (archive.truth / "wells.csv").open() as stream:
        told = {(row["plate"], row["name"]): row for row in csv.DictReader(stream)}
    assert told["LT0001_02", "A2"]["trouble"] == "missing"
    assert len(told) == 8


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.suffix not in (".parquet", ".npz")
    }


@pytest.mark.parametrize("layout", ["zarr", "cellh5", "png"])
def test_the_same_design_gives_the_same_bytes(tmp_path, layout):
    one, two = (write_archive(tmp_path / name, [SECOND], layout=layout) for name in "ab")
    assert digests(one.root) == digests(two.root)
    assert digests(one.tables) == digests(two.tables)


def test_through_a_server(tmp_path):
    archive = write_archive(tmp_path / "served", [SECOND])
    with RangeServer(archive.root) as server:
        found = fields(archive, base=server.url)
        for field, store in found:
            np.testing.assert_array_equal(formats.attach(field, store).read(), true_frame(field).image)
    assert len(found) == 4


# outside witnesses: the layouts as other readers see them


def test_zarr_python_sees_the_real_layout(tmp_path):
    archive = write_archive(tmp_path / "plate", [Design(rows=1, columns=2, shape=(1030, 1100), nuclei=3)])
    (plate,) = archive.root.glob("S-BIAD865/*/*.zarr")
    assert plate.name == f"{plate.parent.name}.zarr"
    group = zarr.open_group(plate, mode="r", zarr_format=2)
    assert group.attrs["plate"]["version"] == "0.4"
    image = group["A/2/0/0"]
    assert image.shape == (1, 2, 1, 1030, 1100)
    assert image.chunks == (1, 1, 1, 1024, 1024)
    assert [group[f"A/1/0/{level}"].shape[-1] for level in range(4)] == [1100, 550, 275, 137]
    assert sorted(path.name for path in (plate / "A/2/0/0/0/0/0").iterdir()) == ["0", "1"]


def test_h5py_sees_the_real_layout(tmp_path):
    archive = write_archive(tmp_path / "movies", [SECOND], layout="cellh5")
    (path,) = archive.root.glob("*/hdf5/00002_01.ch5")
    screen = path.parts[-3]
    assert screen.startswith("LT0002_05--ex")
    with h5py.File(path) as file:
        position = file[f"sample/0/plate/{screen}/experiment/00002/position/1"]
        assert position["image/channel"].shape == (2, 2, 1, 128, 160)
        frames = list(scenes(SECOND, wells(SECOND)[1]))
        np.testing.assert_array_equal(position["image/region"][0, :, 0], [frame.labels for frame in frames])
        objects = position[f"object/{REGION}"][:]
        assert [list(objects["time_idx"]).count(t) for t in (0, 1)] == [len(frame.cells) for frame in frames]
        for first, second in position["object/tracking"][:].tolist():
            one, other = (frames[objects["time_idx"][row]].cells for row in (first, second))
            grain = one.grain[objects["obj_label_id"][first] - 1], other.grain[objects["obj_label_id"][second] - 1]
            np.testing.assert_array_equal(*grain)


def test_own_labels_come_back_through_the_reader(tmp_path):
    archive = write_archive(tmp_path / "movies", [SECOND], layout="cellh5")
    field, store = fields(archive)[1]
    labels = cellh5.labels(store, field.planes[0], REGION)
    np.testing.assert_array_equal(np.squeeze(labels), true_frame(field).labels)


def test_refusals(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecipeError, match="not empty"):
        write_archive(tmp_path, [SECOND])
    with pytest.raises(RecipeError, match="a name each"):
        write_archive(tmp_path / "a", [SECOND, SECOND])
    with pytest.raises(RecipeError, match="one position a well"):
        write_archive(tmp_path / "b", [Design(sites=2)], layout="cellh5")


def test_the_demonstration(tmp_path):
    archive = demo_archive(tmp_path / "demo", shape=(128, 128), nuclei=5)
    found = fields(archive)
    assert len(found) == 24
    reasons = Counter(_reason(field, store) for field, store in found)
    assert reasons == {"read": 22, "missing": 1, "damaged": 1}


def test_the_annotation_table_lists_the_same_fields_as_the_work_list(tmp_path):
    archive = write_archive(tmp_path / "plates", [DESIGN, SECOND])
    listed = catalogs.parse(archive.source())
    table = str(archive.tables / "idr0013-screenA-annotation.csv")
    annotated = catalogs.parse({**archive.source(), "work_list": None, "annotation": table, "frames": [1, 2]})
    one, other = (list(catalogs.units(settings, None)) for settings in (listed, annotated))
    assert one == other
    assert [dict(field.annotation) for field in one] == [dict(field.annotation) for field in other]


def test_whole_plates_from_the_fileset_table_alone(tmp_path):
    archive = write_archive(tmp_path / "plates", [SECOND])
    settings = catalogs.parse({"catalog": "idr", "base": str(archive.root), "filesets": archive.source()["filesets"]})
    store = open_store(catalogs.base(settings))
    (container,) = catalogs.units(settings, store)
    found = list(formats.fields(store, container))
    assert [(field.id.plate, field.id.well, field.id.time) for field in found] == [
        ("LT0002_05", "A1", 0), ("LT0002_05", "A1", 1), ("LT0002_05", "A2", 0), ("LT0002_05", "A2", 1),
    ]  # fmt: skip
    np.testing.assert_array_equal(found[3].read(), true_frame(found[3]).image)
