"""Batches: the pixels of the pack, in the same order whatever the threads, in bounded memory, and damage has a name."""

import gc
import json
import os
import pickle
import shutil
import threading
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from phenostream import datasets
from phenostream.datasets.loading import Balanced, Groups, LoadSettings, Share, State, Windows, batches
from phenostream.datasets.loading.buffers import Buffers
from phenostream.errors import DamagedError, NotFoundError
from phenostream.values import Channel, Field, FieldId

ORDERS = [False, True, Windows(window=24, run=6), Balanced("sirna_id"), Groups("experiment", each=4)]


def same(one, other):
    names = ("pixels", "sites", "groups", "keys", "repeated")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names) and one.state == other.state


def damaged(pack, folder, site):
    span = pack.span(site)
    with (folder / span.shard).open("rb+") as file:
        file.seek(span.offset + span.length // 2)
        old = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([old[0] ^ 0x10]))


def loading():
    """Threads of loaders that live now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("phenostream-load-")]


def reading(pack):
    """Files of the pack that this process has open; none where the system does not tell."""
    names = (os.path.realpath(path) for path in Path("/proc/self/fd").glob("*"))
    return [name for name in names if Path(name).is_relative_to(os.path.realpath(pack.base))]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_pixels_are_those_of_the_pack(pack, order):
    loader = batches(pack, batch_size=8, shuffle=order)
    count = 0
    for batch in loader:
        assert batch.pixels.flags.c_contiguous
        assert batch.pixels.flags.writeable
        for pixels, site in zip(batch.pixels, batch.sites, strict=True):
            assert np.array_equal(pixels, pack[site])
        assert batch.table["site_id"].to_pylist() == pack.table["site_id"].take(batch.sites).to_pylist()
        count += 1
    assert count == len(loader)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("threads", [1, 5])
def test_an_interrupted_epoch_goes_on_bit_for_bit(pack, order, threads):
    whole = list(batches(pack, batch_size=8, shuffle=order, seed=5).epoch(2))
    for stop in (0, 3, len(whole) - 1):
        first = batches(pack, batch_size=8, shuffle=order, seed=5, settings=LoadSettings(threads=threads))
        before = [batch for batch, _ in zip(first.epoch(2), range(stop + 1), strict=False)]
        state = State(**json.loads(json.dumps(asdict(before[-1].state))))
        second = batches(pack, batch_size=8, shuffle=order, seed=5, settings=LoadSettings(threads=6 - threads))
        rest = list(second.resume(state))
        assert len(before) + len(rest) == len(whole)
        assert all(same(ours, theirs) for ours, theirs in zip([*before, *rest], whole, strict=True))


def test_epochs_follow_each_other_and_differ(pack):
    loader = batches(pack, batch_size=8, seed=1)
    epochs = [list(loader) for _ in range(3)]
    again = batches(pack, batch_size=8, seed=1)
    assert all(same(a, b) for number in range(3) for a, b in zip(epochs[number], again.epoch(number), strict=True))
    assert not np.array_equal(epochs[0][0].sites, epochs[1][0].sites)
    stream = again.forever(epochs[0][4].state)
    expected = [*epochs[0][5:], *epochs[1], epochs[2][0]]
    assert all(same(next(stream), batch) for batch in expected)
    stream.close()


def test_processes_share_every_epoch(pack):
    for number in (0, 1):
        ranks = [list(batches(pack, batch_size=5, share=Share(rank, 3)).epoch(number)) for rank in range(3)]
        assert len({len(one) for one in ranks}) == 1
        everything = np.concatenate([batch.sites for one in ranks for batch in one])
        assert sorted(everything) == list(range(len(pack)))


def test_sites_of_a_well_come_together(pack):
    settings = LoadSettings(together=("plate", "well"))
    seen = []
    for batch in batches(pack, batch_size=4, settings=settings):
        wells = list(zip(batch.table["plate"].to_pylist(), batch.table["well"].to_pylist(), strict=True))
        for group in {*batch.groups.tolist()}:
            own = {well for well, one in zip(wells, batch.groups, strict=True) if one == group}
            assert len(own) == 1
            seen += own
    assert (
        len({*seen}) == len(seen) == len({*zip(*(pack.table[n].to_pylist() for n in ("plate", "well")), strict=True)})
    )


def test_a_filter_of_the_index_chooses_sites(pack):
    wanted = (pc.field("dataset") == "train") & (pc.field("well_type") == "treatment")
    rows = pack.table.select(["dataset", "well_type"]).to_pylist()
    expected = [k for k, row in enumerate(rows) if (row["dataset"], row["well_type"]) == ("train", "treatment")]
    found = np.concatenate([batch.sites for batch in batches(pack, batch_size=4, sites=wanted)])
    assert sorted(found) == expected


def test_wide_pixels_go_through_exactly(tmp_path):
    rng = np.random.default_rng(0)
    stacks = [rng.integers(0, 60_000, (2, 16, 16)).astype(np.uint16) for _ in range(9)]
    names = (Channel("DNA"), Channel("ER"))
    fields = [
        Field(FieldId(plate="P", well=f"A{k + 1}", site="1"), names, pixels=lambda s=stack: s)
        for k, stack in enumerate(stacks)
    ]
    datasets.pack(fields, tmp_path / "pack")
    pack = datasets.open_pack(tmp_path / "pack")
    for batch in batches(pack, batch_size=4):
        assert batch.pixels.dtype == np.uint16
        wells = batch.table["well"].to_pylist()
        assert all(
            np.array_equal(one, stacks[int(well[1:]) - 1]) for one, well in zip(batch.pixels, wells, strict=True)
        )


def test_real_fields_go_through_bit_for_bit(data, tmp_path):
    from skimage.io import imread

    files = sorted((data / "fields" / "examplehuman").glob("*d[012]*.tif"))[:3]
    assert len(files) == 3
    real = np.stack([imread(path) for path in files])
    fields = [
        Field(FieldId(plate="P", well=f"A{k + 1}", site="1"), tuple(Channel(str(c)) for c in range(3)),
              pixels=lambda k=k: np.roll(real, k, axis=1))
        for k in range(3)
    ]  # fmt: skip
    datasets.pack(fields, tmp_path / "pack")
    for batch in batches(datasets.open_pack(tmp_path / "pack"), batch_size=2):
        for pixels, well in zip(batch.pixels, batch.table["well"].to_pylist(), strict=True):
            assert np.array_equal(pixels, np.roll(real, int(well[1:]) - 1, axis=1))


def test_a_batch_outlives_its_loader_and_later_batches(pack):
    loader = batches(pack, batch_size=8, settings=LoadSettings(prefetch_mb=0))
    stream = loader.epoch(0)
    batch = next(stream)
    view, site = batch.pixels[3, 1:, ::2], int(batch.sites[3])
    del batch
    for other in stream:
        other.pixels[:] = 0
    assert np.array_equal(view, pack[site][1:, ::2])


def test_memory_comes_back_once_the_last_view_is_gone():
    made = []
    buffers = Buffers(100, keep=2, allocate=lambda size: made.append(size) or np.zeros(size, np.uint8))
    first = buffers.array((5, 5), np.dtype(np.uint32))
    view = first[1:, ::2][2, 1:]
    del first
    second = buffers.array((25,), np.dtype(np.uint32))
    assert len(made) == 2
    assert not np.shares_memory(view, second)
    del view, second
    gc.collect()
    again = [buffers.array((4,), np.dtype(np.uint8)) for _ in range(3)]
    assert len(made) == 3
    assert len({one.ctypes.data for one in again}) == 3


@pytest.mark.parametrize("prefetch_mb", [0, 1])
def test_memory_stays_within_its_bound(pack, prefetch_mb):
    batch_size = 6
    size = batch_size * pack.coding.nbytes
    bound = max(1, prefetch_mb * 1_000_000 // size) * size + 2 * size
    settings = LoadSettings(prefetch_mb=prefetch_mb, threads=2)
    loader = batches(pack, batch_size=batch_size, settings=settings)
    list(batches(pack, batch_size=batch_size, settings=settings).epoch(0))[-1]  # what is imported on the way
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(3):
            for batch in loader:
                del batch
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    stored = 4 * int(pack.lengths.max())
    assert peak < bound + stored + 400_000


def test_nothing_runs_on_after_an_epoch_or_a_break(pack):
    loader = batches(pack, batch_size=4, settings=LoadSettings(threads=3))
    for _ in loader:
        break
    stream = loader.epoch(1)
    next(stream)
    assert len(loading()) == 3
    assert reading(pack) or not Path("/proc/self/fd").is_dir()
    stream.close()
    gc.collect()
    assert loading() == []
    assert reading(pack) == []


def test_a_loader_can_be_sent_to_another_process(pack):
    loader = batches(pack, batch_size=8, seed=2)
    first = next(loader.epoch(0))
    again = pickle.loads(pickle.dumps(loader))
    assert same(first, next(again.epoch(0)))
    step = next(again.course.steps(again.course.start(0)))
    assert same(first, again.read(step))


@pytest.fixture
def broken(packed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(packed, folder)
    pack = datasets.open_pack(folder)
    damaged(pack, folder, 5)
    return pack


@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_site_is_named_when_its_batch_comes(broken, threads):
    loader = batches(broken, batch_size=4, shuffle=False, settings=LoadSettings(threads=threads))
    stream = loader.epoch(0)
    assert np.array_equal(next(stream).sites, [0, 1, 2, 3])
    with pytest.raises(DamagedError, match=broken.table["site_id"][5].as_py()):
        next(stream)
    assert loading() == []


def test_bytes_that_do_not_decode_are_named_too(broken, monkeypatch):
    monkeypatch.setattr(type(broken), "check", lambda self, i, blob: None)
    monkeypatch.setattr(type(broken), "blob", None)
    loader = batches(broken, batch_size=4, shuffle=False)
    broken.lengths[5] = 40
    with pytest.raises(DamagedError, match=broken.table["site_id"][5].as_py()):
        list(loader)


def test_damaged_sites_can_be_left_out_and_are_counted(broken, pack):
    settings = LoadSettings(faults="skip", threads=2)
    loader = batches(broken, batch_size=4, settings=settings)
    for number in range(2):
        found = list(loader)
        sites = np.concatenate([batch.sites for batch in found])
        assert sorted(sites) == [site for site in range(len(pack)) if site != 5]
        assert all(np.array_equal(p, pack[s]) for b in found for p, s in zip(b.pixels, b.sites, strict=True))
        assert len(found) == len(loader)
        assert loader.skipped == {5: number + 1}
    assert "fails its checksum" in loader.faults[5]


def test_a_lost_shard_costs_its_sites_alone(broken, tmp_path):
    lost = broken.shards[1]
    (tmp_path / "copy" / lost).unlink()
    with pytest.raises(NotFoundError, match=lost):
        list(batches(broken, batch_size=4))
    loader = batches(broken, batch_size=4, shuffle=False, settings=LoadSettings(faults="skip"))
    found = list(loader)
    there = np.flatnonzero((broken.shard_numbers != 1) & (np.arange(len(broken)) != 5))
    assert sorted(np.concatenate([batch.sites for batch in found])) == there.tolist()
    assert len(found) == len(loader)
    assert {*loader.faults} == {*range(len(broken))} - {*there.tolist()}
