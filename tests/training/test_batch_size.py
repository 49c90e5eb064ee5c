from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phenostream.errors import TooLargeError
from phenostream.training import FitSettings, checkpoints, fit, registry
from phenostream.training.batch_size import (
    forget_peak,
    resident_peak,
    search_cpu,
    search_gpu,
)


class Card:
    """A card that holds so many examples."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.tried: list[int] = []

    def __call__(self, size: int) -> None:
        self.tried.append(size)
        if size > self.holds:
            raise torch.OutOfMemoryError


@settings(max_examples=15)
@given(holds=st.integers(1, 5000), limit=st.integers(1, 3000))
def test_on_a_gpu_the_batch_fits_and_wastes_little(holds: int, limit: int) -> None:
    card = Card(holds)
    found = search_gpu(card, limit)
    fits = min(holds, limit)
    assert 1 <= found <= fits
    assert max(card.tried) <= limit
    assert len(card.tried) <= 18
    if holds >= limit:
        assert found == limit
    else:  # a tenth is headroom, a sixteenth the search's own patience
        assert found >= int(0.9 * fits * 16 / 17) - 1 or found == 1


def test_a_card_that_holds_nothing_is_named() -> None:
    with pytest.raises(TooLargeError, match="not even one example"):
        search_gpu(Card(0), 64)


def test_other_errors_are_not_taken_for_a_full_card() -> None:
    def broken(size: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        search_gpu(broken, 64)


class Machine:
    """A process that took `first` bytes once, before, and takes `each` an example over `base`."""

    def __init__(self, base: int, each: int, first: int = 0) -> None:
        self.base, self.each, self.peak = base, each, base + first
        self.tried: list[int] = []

    def __call__(self, size: int) -> None:
        self.tried.append(size)
        self.peak = max(self.peak, self.base + self.each * size)

    def forget(self) -> None:
        self.peak = self.base


@given(
    each=st.integers(10_000, 10_000_000),
    cap=st.integers(10_000_000, 1_000_000_000),
    limit=st.integers(1, 4096),
    first=st.integers(0, 10**10),
)
def test_on_a_cpu_the_cap_is_never_passed(each: int, cap: int, limit: int, first: int) -> None:
    machine = Machine(300_000_000, each, first)
    found = search_cpu(machine, limit, cap=cap, peak=lambda: machine.peak, forget=machine.forget)
    wanted = max(1, min(limit, cap // each))
    assert 1 <= found <= wanted
    # The second trial comes before any slope is known.
    assert machine.peak - machine.base <= max(cap, 2 * each)
    assert found >= int(0.85 * wanted) or found == 1


def test_the_memory_of_this_process_is_read() -> None:
    assert 1e7 < resident_peak() < 1e12


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_the_peak_begins_anew() -> None:
    held = bytearray(200_000_000)
    held[::4096] = b"1" * len(held[::4096])
    high = resident_peak()
    del held
    forget_peak()
    assert resident_peak() < high - 150_000_000


def test_a_fit_keeps_the_size_that_it_found(tmp_path: Path) -> None:
    task = registry.build("blobs", registry.settings("blobs", {"examples": 24}))
    train = FitSettings(epochs=2, batch_size="auto", batch_limit=10, tensorboard=False)
    told = fit(task, train, folder=tmp_path, seed=1)
    assert told.batch_size == 10
    assert told.steps == 4
    assert checkpoints.latest(tmp_path / "checkpoints")["position"]["batch_size"] == 10
    assert fit(task, train, folder=tmp_path, seed=1).batch_size == 10
