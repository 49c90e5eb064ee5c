"""Packs: any site, exactly, by this reader and by plain Zarr; damage is named and stays where it is."""

import hashlib
import json
import pickle
import shutil
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from phenostream import datasets
from phenostream.datasets.shards import read_index
from phenostream.errors import (
    ChannelMissingError,
    DamagedError,
    HostileError,
    NotFoundError,
    OutOfRangeError,
    PhenostreamError,
    TooLargeError,
    WrongShapeError,
)
from phenostream.synthetic import RangeServer
from phenostream.values import FieldId, columns_of


@pytest.fixture
def truth(sites):
    return {field.id: field for field in sites}


def identity(row):
    return FieldId(**{name: row[name] for name in ("study", "plate", "well", "site", "time", "z")})


def copied(packed, tmp_path):
    shutil.copytree(packed, tmp_path / "copy")
    return tmp_path / "copy"


def test_every_site_comes_back_exactly_with_all_that_is_told_of_it(pack, truth):
    assert len(pack) == len(truth)
    for index, row in enumerate(pack.table.to_pylist()):
        field = truth[identity(row)]
        assert np.array_equal(pack[index], field.read())
        told = {name: str(row[name]) for name in field.annotation}
        assert told == dict(field.annotation)


def test_plain_zarr_reads_the_same(packed, pack):
    group = zarr.open_group(packed / "images", mode="r")
    assert group.attrs["channels"] == list(pack.channels)
    for index, row in enumerate(pack.table.to_pylist()):
        assert np.array_equal(group[row["array"]][row["slot"]], pack[index])
    assert {name for name, _ in group.arrays()} == set(pack.table["array"].to_pylist())


def test_a_span_is_all_that_is_needed(packed, pack):
    """Bytes of a span, decoded: what a loader does."""
    for index in (0, len(pack) // 2, len(pack) - 1):
        span = pack.span(index)
        with (packed / span.shard).open("rb") as file:
            file.seek(span.offset)
            assert np.array_equal(pack.decode(file.read(span.length)), pack[index])


def test_the_index_of_a_shard_says_the_same_as_the_table(packed, pack):
    arrays = {
        row["array"]: zarr.open_group(packed / "images", mode="r")[row["array"]] for row in pack.table.to_pylist()
    }
    for row in pack.table.to_pylist():
        slots = arrays[row["array"]].shards[0]
        data = (packed / row["shard"]).read_bytes()
        index = read_index(data[-(16 * slots + 4) :], slots, row["shard"])
        assert index[row["slot"] % slots].tolist() == [row["offset"], row["length"]]


def test_many_at_once_in_the_order_asked_for(pack):
    wanted = [5, 0, 5, len(pack) - 1]
    found = pack.read(wanted)
    assert all(np.array_equal(one, pack[index]) for one, index in zip(found, wanted, strict=True))
    out = np.zeros_like(found)
    assert pack.read(np.array(wanted), out) is out
    assert np.array_equal(out, found)
    with pytest.raises(WrongShapeError, match="out has shape"):
        pack.read(wanted, out[:2])


def test_threads_and_other_processes_may_read(pack):
    again = pickle.loads(pickle.dumps(pack))
    assert np.array_equal(again[3], pack[3])
    wrong = []

    def read(start):
        wrong.extend(k for k in range(start, len(pack), 4) if not np.array_equal(pack[k], again[k]))

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_is_not_there_is_named(pack, tmp_path):
    for index in (len(pack), -len(pack) - 1):
        with pytest.raises(OutOfRangeError, match=f"of {len(pack)}"):
            pack[index]
    assert np.array_equal(pack[-1], pack[len(pack) - 1])
    with pytest.raises(ChannelMissingError, match="DNA, ER, Actin, RNA, Mito, Golgi"):
        pack.channel("GFP")
    assert pack.channel("RNA") == 3
    with pytest.raises(NotFoundError, match="no finished pack"):
        datasets.open_pack(tmp_path)


def test_columns_say_what_they_are(pack):
    roles = {column.name: column.role for column in columns_of(pack.table.schema)}
    assert roles["experiment"] == roles["offset"] == "metadata"
    assert roles["pixel_mean"] == roles["blank"] == "qc"
    assert "feature" not in roles.values()


def test_values_have_their_types(pack):
    types = {name: str(pack.table.schema.field(name).type) for name in ("plate_number", "sirna_id", "sirna", "well_id")}
    assert types == {"plate_number": "int64", "sirna_id": "int64", "sirna": "string", "well_id": "string"}


def test_over_http_only_ranges_move(packed, pack):
    with RangeServer(packed) as server:
        remote = datasets.open_pack(server.url)
        opened = remote.store.traffic.bytes
        found = remote.read([0, 7])
        moved = remote.store.traffic.bytes - opened
    assert np.array_equal(found, pack.read([0, 7]))
    assert moved == pack.span(0).length + pack.span(7).length


@pytest.mark.parametrize("place", ["first", "middle"])
def test_a_damaged_shard_names_its_site_and_spares_the_others(packed, tmp_path, place):
    folder = copied(packed, tmp_path)
    pack = datasets.open_pack(folder)
    hit = 0 if place == "first" else len(pack) // 2
    span = pack.span(hit)
    with (folder / span.shard).open("rb+") as file:
        file.seek(span.offset + span.length // 2)
        old = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([old[0] ^ 0x10]))
    name = pack.table["site_id"][hit].as_py()
    with pytest.raises(DamagedError, match=name) as caught:
        pack[hit]
    assert span.shard in str(caught.value)
    rest = [index for index in range(len(pack)) if index != hit]
    assert np.array_equal(pack.read(rest), datasets.open_pack(packed).read(rest))
    told = datasets.verify_pack(folder)
    assert [(fault.shard, fault.kind, fault.sites) for fault in told.faults] == [(span.shard, "checksum", (name,))]


def test_a_missing_and_a_cut_shard_are_told_apart(packed, tmp_path):
    folder = copied(packed, tmp_path)
    pack = datasets.open_pack(folder)
    gone, cut = pack.shards[0], pack.shards[1]
    (folder / gone).unlink()
    (folder / cut).write_bytes((folder / cut).read_bytes()[:500])
    with pytest.raises(NotFoundError, match=gone):
        pack[int(np.flatnonzero(pack.shard_numbers == 0)[0])]
    told = {fault.shard: fault for fault in datasets.verify_pack(folder).faults}
    assert told[gone].kind == "missing"
    assert told[cut].kind == "length"
    assert len(told[gone].sites) == (pack.shard_numbers == 0).sum()
    assert 0 < len(told[cut].sites) < (pack.shard_numbers == 1).sum() + 1
    assert len(told) == 2


@pytest.mark.parametrize("name", ["index.parquet", "pack.json"])
def test_a_damaged_index_is_named(packed, tmp_path, name):
    folder = copied(packed, tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / name).write_bytes(data)
    with pytest.raises(DamagedError, match=name):
        datasets.open_pack(folder)


def test_a_damaged_side_table_does_not_keep_sites_from_being_verified(packed, tmp_path):
    folder = copied(packed, tmp_path)
    (folder / "shards.parquet").write_bytes(b"PAR1 no more")
    assert [(one.shard, one.kind) for one in datasets.verify_pack(folder).faults] == [("shards.parquet", "checksum")]


def test_a_sound_pack_has_no_faults(packed, pack):
    told = datasets.verify_pack(packed, workers=2)
    assert told.faults == ()
    assert (told.shards, told.sites, told.bytes) == (len(pack.shards), len(pack), pack.description.bytes)


def forged(folder, change):
    """A pack whose index and digest were made to fit each other."""
    table = change(pq.read_table(folder / "index.parquet"))
    pq.write_table(table, folder / "index.parquet")
    told = json.loads((folder / "pack.json").read_text())
    told["tables"]["index.parquet"] = hashlib.sha256((folder / "index.parquet").read_bytes()).hexdigest()
    (folder / "pack.json").write_text(json.dumps(told))
    return folder


def replaced(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda t: replaced(t, "shard", ["../../../etc/passwd"] * len(t)), HostileError),
        (lambda t: replaced(t, "shard", ["/etc/passwd"] * len(t)), HostileError),
        (lambda t: replaced(t, "length", [1 << 50] * len(t)), DamagedError),
        (lambda t: replaced(t, "length", [-1] * len(t)), DamagedError),
        (lambda t: replaced(t, "offset", [-1] * len(t)), DamagedError),
        (lambda t: replaced(t, "offset", [None] * len(t)), DamagedError),
        (lambda t: t.drop_columns(["crc32c"]), DamagedError),
    ],
)
def test_an_index_that_no_packing_writes_is_refused(packed, tmp_path, change, error):
    with pytest.raises(error):
        datasets.open_pack(forged(copied(packed, tmp_path), change))


def test_a_description_that_no_packing_writes_is_refused(packed, tmp_path):
    folder = copied(packed, tmp_path)
    good = json.loads((folder / "pack.json").read_text())
    for change in ({"channels": ["DNA"]}, {"shape": [6, 24]}, {"format": "tar"}, {"version": 99}, {"dtype": "object"}):
        (folder / "pack.json").write_text(json.dumps(good | change))
        with pytest.raises(PhenostreamError):
            datasets.open_pack(folder)
    (folder / "pack.json").write_text(json.dumps(good | {"shape": [6, 1 << 20, 1 << 20]}))
    with pytest.raises(TooLargeError):
        datasets.open_pack(folder)
