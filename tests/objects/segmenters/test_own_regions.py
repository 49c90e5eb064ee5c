"""Labels that a file itself holds."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from phenostream import formats, objects
from phenostream.errors import NotFoundError
from phenostream.formats import cellh5, ome_zarr
from phenostream.sources import LocalStore
from phenostream.values import Container, Field

LABELS = np.zeros((2, 30, 40), np.uint16)
LABELS[0, 2:9, 3:12], LABELS[0, 15:20, 20:30], LABELS[1, 4:9, 6:12] = 7, 3, 2
PIXELS = np.random.default_rng(0).integers(0, 255, (1, 2, 1, 30, 40)).astype(np.uint8)


def take(field, store=None, **told):
    return objects.run(objects.build(objects.settings({"model": "own_regions", **told})), field, store)


@pytest.fixture
def movie(tmp_path):
    other = cellh5.Segmented((LABELS > 0).astype(np.uint16))
    regions = {"primary__test": cellh5.Segmented(LABELS), "secondary__test": other}
    cellh5.write(tmp_path / "00001_01.ch5", cellh5.Movie(PIXELS, regions=regions))
    store = LocalStore(tmp_path)
    return list(formats.fields(store, Container("00001_01.ch5", "cellh5"))), store


def test_cellh5_regions_keep_their_numbers(movie):
    fields, store = movie
    for field, labels in zip(fields, LABELS, strict=True):
        for found in (take(field), take(field, store), take(field.with_pixels(lambda: PIXELS[:, 0, 0]), store)):
            assert np.array_equal(found.labels, labels)
            assert found.labels.dtype == np.int32
            assert found.field == field.id
    assert take(fields[0]).numbers().tolist() == [3, 7]


def test_the_region_is_chosen_by_name(movie):
    fields, store = movie
    assert take(fields[0], store, region="secondary__test").numbers().tolist() == [1]
    with pytest.raises(NotFoundError, match="nuclei"):
        take(fields[0], store, region="nuclei")


def test_ome_zarr_label_groups(tmp_path):
    labels = {"nuclei": LABELS[0].astype(np.int32)}
    ome_zarr.write_image(tmp_path / "image.zarr", PIXELS[0, 0], labels=labels)
    store = LocalStore(tmp_path)
    (field,) = formats.fields(store, Container("image.zarr", "ome_zarr"))
    assert np.array_equal(take(field, store, region="nuclei").labels, LABELS[0])


def test_what_has_no_labels_is_named():
    with pytest.raises(NotFoundError, match="not read from a file"):
        take(Field.of(PIXELS[0, 0, 0]))


def test_the_real_file(data):
    store = LocalStore(data / "cellh5")
    fields = list(formats.fields(store, Container("00001_01.ch5", "cellh5")))
    with h5py.File(data / "cellh5" / "00001_01.ch5") as file:
        found = []
        file.visititems(lambda name, item: found.append(item) if name.endswith("image/region") else None)
        truth = next(item for item in found if item.ndim == 5)[0, :, 0]
    counts = 0
    for field, labels in zip(fields, truth, strict=True):
        own = take(field, store, region="primary__primary")
        assert np.array_equal(own.labels, labels)
        counts += own.numbers().size
    assert counts == 677
