"""TFRecord files of other writers: framing and messages written here by their definitions, with a CRC of its own."""

import gzip
import struct

import numpy as np
import pytest

from phenostream import datasets
from phenostream.errors import DamagedError, NotFoundError, RecipeError, WrongDtypeError

WORDS = ("well", "well_type", "experiment", "cell_type")


def crc32c(data):
    """Bit by bit, by the reversed polynomial of Castagnoli."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number):
    out = b""
    while number >= 128:
        out, number = out + bytes([number % 128 + 128]), number // 128
    return out + bytes([number])


def message(field, content):
    return varint(field * 8 + 2) + varint(len(content)) + content


def example(features):
    entries = b""
    for name, value in features.items():
        kind = message(1, message(1, value)) if isinstance(value, bytes) else message(3, message(1, varint(value)))
        entries += message(1, message(1, name.encode()) + message(2, kind))
    return message(1, entries)


def record(data):
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def site(number, shape=(5, 4, 2), **more):
    image = np.random.default_rng(number).integers(0, 256, shape, np.uint8)
    told = {
        "image": image.tobytes(), "well": b"B%02d" % (number + 2), "well_type": b"treatment", "experiment": b"HEPG2-08",
        "cell_type": b"HEPG2", "plate": number % 4 + 1, "site": number % 2 + 1, **more,
    }  # fmt: skip
    return image, told


def test_crc_is_the_published_one():
    assert crc32c(b"123456789") == 0xE3069283, "the check value of CRC-32C (RFC 3720)"


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_files_of_the_original_are_read_without_a_description(tmp_path, packed):
    """Two files of one dataset and one of the other, whose labels are unknown."""
    truth = {}
    for name, numbers, more in (
        ("train/002", (3, 4), {"sirna": 1107}), ("train/001", (0, 1, 2), {"sirna": 513}), ("test/001", (5,), {}),
    ):  # fmt: skip
        path = tmp_path / "random-42" / f"{name}.tfrecord"
        path.parent.mkdir(parents=True, exist_ok=True)
        sites = [site(number, **more) for number in numbers]
        data = b"".join(record(example(told)) for _, told in sites)
        path.write_bytes(gzip.compress(data) if packed else data)
        truth[f"random-42/{name}.tfrecord"] = sites
    seen = list(datasets.read_tfrecords(tmp_path, shape=(2, 5, 4)))
    assert [(row["file"], row["place"]) for row, _ in seen] == [
        (name, place) for name in sorted(truth) for place in range(len(truth[name]))
    ]
    for row, found in seen:
        image, told = truth[row["file"]][row["place"]]
        assert found.pixels.dtype == np.uint8
        assert np.array_equal(found.pixels, np.moveaxis(image, -1, 0))
        assert {name: row[name] for name in WORDS} == {name: told[name].decode() for name in WORDS}
        assert (row["plate"], row["site"], row.get("sirna")) == (told["plate"], told["site"], told.get("sirna"))
        assert "image" not in row
    (row, _), *_ = datasets.read_tfrecords(tmp_path / "random-42" / "test" / "001.tfrecord", shape=(2, 5, 4))
    assert row["file"] == "001.tfrecord"


def test_sites_of_rxrx1_need_no_shape(tmp_path, monkeypatch):
    """512 x 512 of six channels; a checksum bit by bit would take a minute, so the reader's own is not in question."""
    import google_crc32c

    monkeypatch.setitem(globals(), "crc32c", google_crc32c.value)
    image, told = site(1, (512, 512, 6))
    (tmp_path / "001.tfrecord").write_bytes(gzip.compress(record(example(told)), 1))
    ((_, found),) = datasets.read_tfrecords(tmp_path)
    assert np.array_equal(found.pixels, np.moveaxis(image, -1, 0))


def test_exports_that_tell_their_shape_are_read_too(pack, tmp_path):
    settings = {"format": "tfrecord", "columns": "all", "controls": True, "strategy": "stable"}
    datasets.export(pack, tmp_path, settings)
    number = {name: index for index, name in enumerate(pack.table["site_id"].to_pylist())}
    seen = list(datasets.read_tfrecords(tmp_path))
    assert len(seen) == len(pack)
    assert all(np.array_equal(found.pixels, pack[number[row["site_id"]]]) for row, found in seen)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="no TFRecord file"):
        next(datasets.read_tfrecords(tmp_path))
    path = tmp_path / "001.tfrecord"
    data = record(example(site(0)[1]))
    path.write_bytes(data)
    with pytest.raises(RecipeError, match="holds 40 pixels and does not tell their shape"):
        next(datasets.read_tfrecords(tmp_path))
    with pytest.raises(DamagedError, match="no site of shape"):
        next(datasets.read_tfrecords(tmp_path, shape=(2, 5, 5)))
    with pytest.raises(WrongDtypeError, match="'object'"):
        next(datasets.read_tfrecords(tmp_path, dtype="object"))
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    with pytest.raises(DamagedError, match="fails its checksum"):
        next(datasets.read_tfrecords(tmp_path, shape=(2, 5, 4)))
