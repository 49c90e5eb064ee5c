"""Masks that the user brings."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from phenostream import objects
from phenostream.errors import (
    HostileError,
    NotFoundError,
    OutOfRangeError,
    RecipeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.formats import png, tiff
from phenostream.objects.segmenters.masks import labels_of
from phenostream.values import Field, FieldId

LABELS = np.zeros((30, 40), np.uint16)
LABELS[2:9, 3:12], LABELS[15:20, 20:30], LABELS[15:20, 30:33] = 700, 3, 12
FIELD = Field.of(np.ones(LABELS.shape, np.uint8), id=FieldId("s", "P1", "B3", "2", 4, 0))


def take(folder, field=FIELD, **told):
    return objects.build(objects.settings({"model": "masks", "folder": str(folder), **told})).segment(field)


def test_label_images_keep_their_numbers(tmp_path):
    png.write(tmp_path / "P1_B3_2.png", LABELS)
    found = take(tmp_path)
    assert np.array_equal(found.labels, LABELS)
    assert found.labels.dtype == np.int32
    assert found.field == FIELD.id


@pytest.mark.parametrize(
    ("mask", "kind", "numbers"),
    [
        ((LABELS > 0).astype(np.uint8) * 255, "auto", [1, 2]),
        ((LABELS > 0).astype(np.uint8), "auto", [1, 2]),
        ((LABELS > 0).astype(np.uint16) * 65535, "auto", [1, 2]),
        ((LABELS > 0).astype(np.uint8) * 7, "auto", [7]),
        ((LABELS > 0).astype(np.uint8), "labels", [1]),
        (LABELS, "binary", [1, 2]),
        (np.zeros_like(LABELS), "auto", []),
        (-LABELS.astype(np.int32), "auto", []),
    ],
)
def test_binary_masks_become_patches(mask, kind, numbers):
    labels = labels_of(mask, kind)
    assert labels.dtype == np.int32
    assert np.unique(labels[labels > 0]).tolist() == numbers


def test_patches_join_over_corners():
    assert labels_of(np.eye(4, dtype=np.uint8) * 255).max() == 1


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{plate}/{well}_s{site}_t{time}.tif", "P1/B3_s2_t4.tif"),
        ("{plate}_{row}{column:02d}_{site:03d}_f{frame:03d}_z{z}.tiff", "P1_B03_002_f005_z0.tiff"),
        ("{study}-{well}.tif", "s-B3.tif"),
    ],
)
def test_patterns_name_the_field(tmp_path, pattern, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    tiff.write(tmp_path / name, LABELS)
    assert np.array_equal(take(tmp_path, pattern=pattern).labels, LABELS)


@pytest.mark.parametrize(
    "pattern", ["{plate}.jpg", "{plate.__class__}.png", "{camera}.png", "{plate!r}.png", "{plate:>9}.png", "{}.png"]
)
def test_other_patterns_are_refused(tmp_path, pattern):
    with pytest.raises(RecipeError, match="pattern"):
        take(tmp_path, pattern=pattern)


def test_numbers_must_be_numbers(tmp_path):
    with pytest.raises(RecipeError, match="wants a number"):
        take(tmp_path, pattern="{plate:02d}.png")


@pytest.mark.parametrize("plate", ["..", "../x", "/etc", "a\\b"])
def test_names_do_not_leave_the_folder(tmp_path, plate):
    with pytest.raises(HostileError, match="outside"):
        take(tmp_path, Field.of(np.ones((3, 3)), id=FieldId(plate=plate)), pattern="{plate}/{site}.png")


def test_a_missing_mask_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"P1_B3_2\.png.*pattern") as caught:
        take(tmp_path)
    assert "well B3" in caught.value.place


def test_another_shape_is_named(tmp_path):
    png.write(tmp_path / "P1_B3_2.png", LABELS[:-1])
    with pytest.raises(WrongShapeError, match=r"\(29, 40\).*\(30, 40\)"):
        take(tmp_path)


def test_another_type_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", LABELS.astype(np.float32))
    with pytest.raises(WrongDtypeError, match="float32"):
        take(tmp_path, pattern="m.tif")
    with pytest.raises(OutOfRangeError, match="4294967295"):
        labels_of(np.array([[0, 5, 2**32 - 1]], np.uint32))


def test_identity_is_what_the_mask_holds_and_not_where_it_lies(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    png.write(one / "P1_B3_2.png", LABELS)
    shutil.copytree(one, two)
    assert take(one).model == take(two).model
    png.write(two / "P1_B3_2.png", LABELS[::-1])
    assert take(one).model != take(two).model


def test_real_masks(data):
    """NF1: masks of 0 and 255 become their patches."""
    folder = data / "fields" / "nf1"
    image = tifffile.imread(folder / "Plate_2_images" / "B7_01_1_3_DAPI_001.tif")
    field = Field.of(image, id=FieldId(plate="2", well="B7", site="3"))
    found = take(folder / "Plate_2_masks", field, pattern="{well}_01_1_{site}_DAPI_001_MaskNuclei.tiff")
    mask = tifffile.imread(folder / "Plate_2_masks" / "B7_01_1_3_DAPI_001_MaskNuclei.tiff")
    assert found.numbers().size == ndimage.label(mask, np.ones((3, 3)))[1]
    assert np.array_equal(found.labels > 0, mask > 0)
