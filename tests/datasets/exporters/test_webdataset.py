"""WebDataset: the exam, and Python's own tar reader."""

import io
import json
import tarfile

import imagecodecs
import numpy as np
import pytest

from phenostream import datasets
from phenostream.errors import DamagedError
from phenostream.testing.exporters import ExporterExam


class TestZstd(ExporterExam):
    settings = {"format": "webdataset", "sites_per_file": 7}


class TestPlainByExperiment(ExporterExam):
    settings = {"format": "webdataset", "compression": "none", "by": ["experiment"], "sites_per_file": 5}


def test_members_of_a_site_adjoin_under_one_key(pack, tmp_path):
    told = datasets.export(pack, tmp_path, {"format": "webdataset", "sites_per_file": 10})
    number = {row["site_id"]: index for index, row in enumerate(pack.table.to_pylist())}
    seen = 0
    for name in told.files:
        with tarfile.open(tmp_path / name) as tar:
            members = tar.getmembers()
            for array, row in zip(members[::2], members[1::2], strict=True):
                key = array.name.removesuffix(".npy.zst")
                assert (array.name, row.name) == (f"{key}.npy.zst", f"{key}.json")
                plain = imagecodecs.zstd_decode(tar.extractfile(array).read())
                site = json.loads(tar.extractfile(row).read())
                assert np.array_equal(np.load(io.BytesIO(plain)), pack[number[site["site_id"]]])
                seen += 1
    assert seen == len(pack)


def test_damage_is_named(pack, tmp_path):
    told = datasets.export(pack, tmp_path, {"format": "webdataset"})
    path = tmp_path / told.files[0]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DamagedError, match=path.name):
        list(datasets.read_export(tmp_path))
