"""TFRecord: the exam, bytes that TensorFlow wrote, and TensorFlow itself where it is at hand."""

import base64
import json
import os
import subprocess
from collections import Counter

import numpy as np
import pytest

from phenostream import datasets
from phenostream.datasets.exporters import Kind
from phenostream.datasets.exporters.tfrecord import example, parse, read, record, records
from phenostream.errors import DamagedError, PhenostreamError, RecipeError, TooLargeError
from phenostream.testing.exporters import ExporterExam
from phenostream.values import Field, FieldId

# Written by tf.io.TFRecordWriter of TensorFlow 2.21: the original's eight keys, then bytes, integers, floats, an empty
# feature, an empty list.
GOLDEN = base64.b64decode(
    "uwAAAAAAAAAZO2Q5CrgBChYKCWNlbGxfdHlwZRIJCgcKBUhFUEcyChoKCmV4cGVyaW1lbnQSDAoKCghIRVBHMi0wOAolCgVpbWFnZRIcChoKGAAB"
    "AgMEBQYHCAkKCwwNDg8QERITFBUWFwoOCgVwbGF0ZRIFGgMKAQEKDwoFc2lybmESBhoECgKBBAoNCgRzaXRlEgUaAwoBAgoaCgl3ZWxsX3R5cGUS"
    "DQoLCgl0cmVhdG1lbnQKDwoEd2VsbBIHCgUKA0IwMqG5RTcpAAAAAAAAADf/XwAKJwolCgVpbWFnZRIcChoKGAABAgMEBQYHCAkKCwwNDg8QERIT"
    "FBUWF3oQ+a0rAAAAAAAAAIYbw0sKKQonCgVzaXJuYRIeGhwKGgABf4ABrAL///////////8BgICAgICAgIBAzWusoRkAAAAAAAAAi/EIKAoXChUK"
    "AXgSEBIOCgwAAAAAAADAPwAAEMB4tU2qCQAAAAAAAAA3+XE5CgcKBQoBZRIA9F8aQQsAAAAAAAAAhhX1BAoJCgcKAW4SAhoAciLIQA=="
)
FEATURES = [
    {
        "image": [bytes(range(24))], "well": [b"B02"], "well_type": [b"treatment"], "experiment": [b"HEPG2-08"],
        "cell_type": [b"HEPG2"], "plate": [1], "site": [2], "sirna": [513],
    },
    {"image": [bytes(range(24))]},
    {"sirna": [0, 1, 127, 128, 300, -1, 2**62]},
    {"x": [0.0, 1.5, -2.25]},
    {"e": []},
    {"n": []},
]  # fmt: skip


class TestRandom(ExporterExam):
    settings = {"format": "tfrecord", "controls": True, "sites_per_file": 5}


class TestByExpPlateSite(ExporterExam):
    settings = {"format": "tfrecord", "controls": True, "strategy": "by_exp_plate_site"}


class TestPlainOfAnyScreen(ExporterExam):
    settings = {"format": "tfrecord", "controls": True, "strategy": "stable", "columns": "all", "compression": "none"}


@pytest.fixture
def golden(tmp_path):
    (tmp_path / "golden.tfrecord").write_bytes(GOLDEN)
    return tmp_path / "golden.tfrecord"


def test_what_tensorflow_wrote_is_understood(golden):
    assert [parse(data) for data in records(golden)] == FEATURES


def test_the_same_features_give_the_bytes_that_tensorflow_wrote(golden):
    """Of one key; of several, protobuf leaves the order open."""
    data = list(records(golden))
    for place in (1, 2, 3):
        assert example(FEATURES[place]) == data[place]
        assert record(data[place]) in GOLDEN
    assert parse(example(FEATURES[0])) == FEATURES[0]


def test_keys_are_those_of_the_original_and_labels_are_left_out_where_unknown(pack, tmp_path):
    datasets.export(pack, tmp_path, {"format": "tfrecord"})
    kind = Kind(pack.shape, "uint8", pack.channels)
    for path in tmp_path.rglob("*.tfrecord"):
        for data in records(path):
            features = parse(data)
            assert set(features) == {"image", "well", "well_type", "experiment", "cell_type", "plate", "site", "sirna"}
            assert len(features["image"][0]) == np.prod(pack.shape)
        for one in read(path, kind):
            number = (
                pack.table["site_id"]
                .to_pylist()
                .index(f"{one.row['experiment']}_{one.row['plate']}_{one.row['well']}_{one.row['site']}")
            )
            assert np.array_equal(one.pixels, pack[number])
            assert one.row["sirna"] == pack.table["sirna_id"][number].as_py()
    nameless = [Field(f.id, f.channels, annotation={k: v for k, v in f.annotation.items() if "sirna" not in k},
                      pixels=f.pixels) for f in _sites()]  # fmt: skip
    datasets.pack(nameless, tmp_path / "pack")
    datasets.export(datasets.open_pack(tmp_path / "pack"), tmp_path / "out", {"format": "tfrecord"})
    assert all("sirna" not in parse(data) for path in (tmp_path / "out").rglob("*.tfrecord") for data in records(path))


def _sites():
    from phenostream.synthetic.screen import ScreenDesign, fields

    return fields(ScreenDesign(experiments=("RPE-01",), test_experiments=("RPE-01",), perturbations=2, shape=(8, 8)))


def test_controls_lie_in_folders_of_their_own(pack, tmp_path):
    plain = datasets.export(pack, tmp_path / "plain", {"format": "tfrecord"})
    every = datasets.export(pack, tmp_path / "every", {"format": "tfrecord", "controls": True})
    kinds = Counter(pack.table["well_type"].to_pylist())
    assert (plain.sites, plain.left_out) == (kinds["treatment"], len(pack) - kinds["treatment"])
    assert set(plain.files) == {"random-42/train/001.tfrecord", "random-42/test/001.tfrecord"}
    assert set(every.files) - set(plain.files) == {
        "random-42/train_controls/001.tfrecord",
        "random-42/test_controls/001.tfrecord",
    }
    for name in plain.files:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "every" / name).read_bytes()


def test_screens_without_experiments_are_refused_the_original_keys(tmp_path):
    site = Field.of(np.ones((1, 4, 4), np.uint8), ("DNA",), id=FieldId(plate="P", well="A1"))
    datasets.pack([site], tmp_path / "pack")
    pack = datasets.open_pack(tmp_path / "pack")
    with pytest.raises(RecipeError, match="experiment"):
        datasets.export(pack, tmp_path / "a", {"format": "tfrecord", "strategy": "stable"})
    told = datasets.export(pack, tmp_path / "b", {"format": "tfrecord", "strategy": "stable", "columns": "all"})
    (data,) = records(tmp_path / "b" / told.files[0])
    features = parse(data)
    assert features["shape"] == [4, 4, 1]
    assert features["pixel_mean"] == [1.0]
    assert features["well"] == [b"A1"]


@pytest.mark.parametrize("place", [0, 5, 9, 13, 60, 200, -3])
def test_a_changed_byte_is_named(golden, place):
    data = bytearray(GOLDEN)
    data[place] ^= 0x40
    golden.write_bytes(data)
    with pytest.raises(PhenostreamError):
        list(records(golden))


def test_a_cut_file_and_a_false_length_are_named(golden):
    golden.write_bytes(GOLDEN[:-5])
    with pytest.raises(DamagedError, match="fails its checksum"):
        list(records(golden))
    import struct

    from phenostream.datasets.exporters.tfrecord import _masked

    length = struct.pack("<Q", 1 << 60)
    golden.write_bytes(length + _masked(length) + b"xx")
    with pytest.raises(TooLargeError, match="claims"):
        list(records(golden))


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05\x0a", b"\x0a\x02\x0a\x7f", b"\xff" * 12, b"\x0b\x01"])
def test_what_is_no_example_is_named(data):
    with pytest.raises(DamagedError, match=r"no tf\.train\.Example"):
        parse(data)


_READER = """
import json, sys
import numpy as np, tensorflow as tf
spec = {"image": tf.io.FixedLenFeature([], tf.string), "well": tf.io.FixedLenFeature([], tf.string),
        "well_type": tf.io.FixedLenFeature([], tf.string), "experiment": tf.io.FixedLenFeature([], tf.string),
        "plate": tf.io.FixedLenFeature([], tf.int64), "site": tf.io.FixedLenFeature([], tf.int64),
        "cell_type": tf.io.FixedLenFeature([], tf.string), "sirna": tf.io.FixedLenFeature([], tf.int64)}
names, images = [], []
for path in sorted(sys.argv[2:]):
    for raw in tf.data.TFRecordDataset([path], compression_type="GZIP"):
        one = tf.io.parse_single_example(raw, spec)
        images.append(tf.io.decode_raw(one["image"], tf.uint8).numpy())
        del one["image"]
        names.append({k: v.numpy().decode() if v.dtype == tf.string else int(v) for k, v in one.items()})
np.save(sys.argv[1] + "/images.npy", np.stack(images))
json.dump(names, open(sys.argv[1] + "/names.json", "w"))
"""


@pytest.mark.slow
def test_tensorflow_reads_every_site_exactly(pack, tmp_path):
    python = os.environ.get("PHENOSTREAM_TENSORFLOW_PYTHON", "")
    if not python:
        pytest.skip("set PHENOSTREAM_TENSORFLOW_PYTHON to the Python of an environment with tensorflow-cpu")
    told = datasets.export(pack, tmp_path / "out", {"format": "tfrecord", "controls": True, "sites_per_file": 9})
    files = [str(tmp_path / "out" / name) for name in told.files]
    subprocess.run(
        [python, "-c", _READER, str(tmp_path), *files], check=True, capture_output=True, timeout=240,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    images, names = np.load(tmp_path / "images.npy"), json.loads((tmp_path / "names.json").read_text())
    rows = {row["site_id"]: (index, row) for index, row in enumerate(pack.table.to_pylist())}
    c, y, x = pack.shape
    assert len(names) == len(pack)
    for image, name in zip(images, names, strict=True):
        index, row = rows[f"{name['experiment']}_{name['plate']}_{name['well']}_{name['site']}"]
        assert np.array_equal(np.moveaxis(image.reshape(y, x, c), -1, 0), pack[index])
        assert (name["sirna"], name["well_type"], name["cell_type"]) == (
            row["sirna_id"], row["well_type"], row["cell_type"],
        )  # fmt: skip
