"""Verifying and mending: any byte that changes is named, and packing again gives the pack that was written."""

import shutil

import numpy as np
import pytest

from phenostream import datasets
from phenostream.datasets import PackSettings
from phenostream.errors import DamagedError
from phenostream.values import Field, FieldId

SETTINGS = PackSettings(licence="CC0")


def site(plate, well, shape=(2, 12, 14)):
    pixels = np.random.default_rng([ord(plate[-1]), well]).poisson(30, shape).astype(np.uint8)
    return Field.of(pixels, ("DNA", "ER"), id=FieldId(plate=plate, well=f"A{well}"))


SITES = [*(site(plate, well) for plate in ("P1", "P2") for well in (1, 2, 3)), site("P2", 9, (2, 12, 13))]


def tree(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    datasets.pack(SITES, folder, settings=SETTINGS)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "pack", ignore=shutil.ignore_patterns("lock"))


KINDS = {
    "shard": "images/P1/c/0/0/0/0",
    "array": "images/P1/zarr.json",
    "group": "images/zarr.json",
    "index": "index.parquet",
    "shards": "shards.parquet",
    "statistics": "statistics.parquet",
    "findings": "findings.parquet",
    "description": "pack.json",
    "plan": "plan.json",
    "part": "parts/*.parquet",
    "levels": "parts/*.levels",
    "seal": "parts/*.json",
}
READ = [kind for kind in KINDS if kind not in ("plan", "part", "levels", "seal")]


def one(folder, kind):
    return min(folder.glob(KINDS[kind]))


def flipped(path, at):
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0x04
    path.write_bytes(data)


def cut(path, at):
    data = path.read_bytes()
    path.write_bytes(data[: int(at * len(data))])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 0.3, 0.7, 1])
def test_packing_again_mends_every_file_by_its_bytes(folder, written, kind, at):
    before = tree(written)
    for harm in (flipped, cut):
        harm(one(folder, kind), at)
        assert tree(folder) != before or at == 1
        told = datasets.pack(SITES, folder, settings=SETTINGS)
        assert tree(folder) == before
        assert told.shards_written == (kind in ("shard", "part", "levels", "seal") and (harm is flipped or at < 1))
    assert datasets.verify_pack(folder).faults == ()


@pytest.mark.parametrize("kind", KINDS)
def test_packing_again_brings_back_every_file_that_is_gone(folder, written, kind):
    one(folder, kind).unlink()
    datasets.pack(SITES, folder, settings=SETTINGS)
    assert tree(folder) == tree(written)


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("at", [0.1, 0.35, 0.62, 0.97])
def test_verifying_names_every_file_that_is_read(folder, kind, at):
    path = one(folder, kind)
    flipped(path, at)
    name = path.relative_to(folder).as_posix()
    try:
        found = [fault.shard for fault in datasets.verify_pack(folder).faults]
    except DamagedError as error:  # without description and index there is nothing to compare with
        assert kind in ("index", "description")
        found = [name] if name in str(error) else []
    # What a changed description says of a file makes that file look changed too.
    assert name in found
    assert kind == "description" or found == [name]


def test_what_reading_says_of_damage_helps(folder, written):
    """The remedy of the error, followed to the letter."""
    pack = datasets.open_pack(folder)
    flipped(folder / pack.span(0).shard, 0.2)
    with pytest.raises(DamagedError, match="pack again into the same folder: what is whole is kept"):
        pack.read(range(len(pack)))
    told = datasets.pack(SITES, folder, settings=SETTINGS, workers=2)
    assert (told.shards, told.shards_written) == (2, 1)
    assert np.array_equal(datasets.open_pack(folder).read([0, 5]), datasets.open_pack(written).read([0, 5]))


@pytest.mark.parametrize("faults", ["drop", "keep-blank"])
def test_mending_never_loses_a_site_whose_source_is_gone(tmp_path, faults):
    """The other sites of a damaged shard are worth more than a shard without one of them."""
    settings = PackSettings(faults=faults)
    datasets.pack(SITES, tmp_path, settings=settings)
    before = tree(tmp_path)
    flipped(one(tmp_path, "shard"), 0.2)
    pack = datasets.open_pack(tmp_path)
    lost = [site.with_pixels(None) if site.id.plate == "P1" and site.id.well == "A2" else site for site in SITES]
    with pytest.raises(DamagedError, match=r"A2.* of it cannot be packed again .*bring its images back"):
        datasets.pack(lost, tmp_path, settings=settings)
    faults_now = datasets.verify_pack(tmp_path).faults
    assert [len(fault.sites) for fault in faults_now] == [1]
    assert np.array_equal(pack[len(pack) - 1], datasets.open_pack(tmp_path)[len(pack) - 1])
    datasets.pack(SITES, tmp_path, settings=settings)
    assert tree(tmp_path) == before
