"""Remote packs: few requests, each byte once, bounded memory, and the same batches."""

import shutil

import numpy as np
import pytest

from phenostream import datasets
from phenostream.datasets.loading import LoadSettings, Windows, batches
from phenostream.datasets.loading.remote import Cache, extents
from phenostream.errors import DamagedError, NotFoundError
from phenostream.sources import TransportOptions
from phenostream.synthetic import RangeServer


@pytest.fixture
def server(packed):
    with RangeServer(packed) as server:
        yield server


def ranges(server):
    """(key, first, last) of every part of a shard that was asked for."""
    return [(visit.key, *map(int, visit.range[6:].split("-"))) for visit in server.visits if visit.range]


def epoch(loader, number=0):
    return [(batch.sites, batch.pixels.copy()) for batch in loader.epoch(number)]


@pytest.mark.parametrize("order", [False, True, Windows(window=24, run=6)], ids=str)
def test_the_same_batches_as_from_disk_and_each_byte_once(pack, server, order):
    remote = datasets.open_pack(server.url)
    server.reset_counts()
    loader = batches(remote, batch_size=8, shuffle=order, settings=LoadSettings(gap_kb=0))
    for ours, theirs in zip(epoch(loader), epoch(batches(pack, batch_size=8, shuffle=order)), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert server.bytes == pack.lengths.sum()
    assert len(ranges(server)) == server.requests <= len(pack)


def test_neighbours_share_requests(pack, server):
    remote = datasets.open_pack(server.url)
    requests = {}
    for name, order in (("in order", False), ("windows", Windows(window=24, run=12)), ("shuffled", True)):
        server.reset_counts()
        # Room ahead for about 24 sites, of a pack of 72.
        one = LoadSettings(gap_kb=0, ahead_mb=1, cache_mb=0)
        loader = batches(remote, batch_size=4, shuffle=order, settings=one)
        loader.settings = one.model_copy(update={"ahead_mb": 3 * 24 * float(pack.lengths.mean()) / 1e6})
        epoch(loader)
        requests[name] = server.requests
        assert server.bytes == pack.lengths.sum()
    assert requests["in order"] < len(pack) / 3
    assert requests["windows"] < len(pack) / 2
    assert requests["in order"] <= requests["windows"] < requests["shuffled"]


def test_gaps_may_be_fetched_to_save_requests(pack):
    every_other = np.flatnonzero(pack.shard_numbers == 0)[::2]
    assert len(extents(pack, every_other, gap=0, most=1 << 30)) == len(every_other)
    joined = extents(pack, every_other, gap=int(pack.lengths.max()), most=1 << 30)
    assert len(joined) == 1
    assert sorted(joined[0].sites) == sorted(every_other.tolist())
    cut = extents(pack, np.arange(len(pack)), gap=0, most=3 * int(pack.lengths.max()))
    assert all(extent.stop - extent.start <= 3 * pack.lengths.max() for extent in cut)
    assert sorted(site for extent in cut for site in extent.sites) == list(range(len(pack)))
    alone = extents(pack, np.arange(len(pack)), gap=0, most=1)
    assert [extent.stop - extent.start for extent in alone] == [pack.lengths[extent.sites[0]] for extent in alone]


def test_a_later_epoch_comes_from_the_cache(pack, server):
    remote = datasets.open_pack(server.url)
    loader = batches(remote, batch_size=8)
    first = epoch(loader)
    server.reset_counts()
    assert server.requests == 0
    for sites, pixels in epoch(loader, 1):
        assert all(np.array_equal(one, pack[site]) for one, site in zip(pixels, sites, strict=True))
    assert server.requests == 0
    assert len(first) == len(loader)


def test_the_cache_keeps_within_its_bound():
    cache = Cache(100)
    for site in range(10):
        cache.put(site, bytes(30))
    assert cache.bytes == 90
    assert [site for site in range(10) if cache.take(site)] == [7, 8, 9]
    assert cache.bytes == 0
    cache.put(1, bytes(101))
    assert cache.bytes == 0
    cache.put(1, bytes(50))
    cache.put(1, bytes(60))
    assert cache.bytes == 60


@pytest.mark.parametrize(("batch_size", "window"), [(2, 4), (4, 4), (12, 12)])
def test_what_is_ahead_is_bounded(pack, server, batch_size, window):
    """Never more sites under way or waiting than three windows, however slowly batches are taken.

    A window is a third of ``ahead_mb``, here of 4 sites, or one batch where that is more.
    """
    remote = datasets.open_pack(server.url)
    size = int(pack.lengths.max())
    settings = LoadSettings(ahead_mb=1, cache_mb=0, gap_kb=0, prefetch_mb=0, threads=1)
    loader = batches(remote, batch_size=batch_size, shuffle=False, settings=settings)
    loader.settings = settings.model_copy(update={"ahead_mb": 3 * 4 * size / 1e6})
    server.reset_counts()
    taken = 0
    for batch in loader.epoch(0):
        used = int(pack.lengths[: taken + len(batch)].sum())
        taken += len(batch)
        assert server.bytes <= used + 3 * window * size
    assert taken == len(pack)


def test_faults_of_the_server_and_of_the_pack_have_their_names(packed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(packed, folder)
    with RangeServer(folder) as server:
        pack = datasets.open_pack(server.url, options=TransportOptions(tries=1))
        lost, cut = pack.shards[0], pack.shards[1]
        (folder / lost).unlink()
        inside = np.flatnonzero(pack.shard_numbers == 1)
        middle = int(np.sort(pack.offsets[inside])[len(inside) // 2])
        data = (folder / cut).read_bytes()
        (folder / cut).write_bytes(data[:middle] + bytes(len(data) - middle))
        with pytest.raises(NotFoundError, match=lost):
            list(batches(pack, batch_size=4, sites=np.flatnonzero(pack.shard_numbers == 0)))
        with pytest.raises(DamagedError, match=cut):
            list(batches(pack, batch_size=4, sites=inside))
        loader = batches(pack, batch_size=4, settings=LoadSettings(faults="skip"))
        for _ in range(2):
            found = np.concatenate([batch.sites for batch in loader])
            spared = (pack.shard_numbers > 1) | ((pack.shard_numbers == 1) & (pack.offsets < middle))
            assert sorted(found) == np.flatnonzero(spared).tolist()
        assert {*loader.skipped.values()} == {2}
