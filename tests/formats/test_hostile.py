"""Hostile files: each is refused by its named error, before anything near its claim is allocated."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest

from phenostream import formats
from phenostream.testing.hostile import HOSTILE
from phenostream.testing.readers import MemoryStore


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_refused_before_allocation(tmp_path, name):
    hostile = HOSTILE[name]
    plane = hostile.make(tmp_path)
    store = MemoryStore.of(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(hostile.error) as caught:
            formats.read(store, plane)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(caught.value) is hostile.error
    assert most < 32 * 2**20
    assert "secret" not in {key for key, _ in store.traffic}
    assert str(pickle.loads(pickle.dumps(caught.value.alone()))) == str(caught.value)


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 25
