"""The disk budget grants before, and never above."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenostream.errors import OverBudgetError
from phenostream.stream.budget import Budget, LeaseTooSmallError


def test_a_lease_takes_and_gives_back() -> None:
    budget = Budget(100)
    lease = budget.lease(60)
    assert lease is not None
    assert budget.used == 60
    assert budget.lease(41) is None
    lease.spend(20)
    lease.shrink()
    assert budget.used == 20
    lease.close()
    lease.close()
    assert budget.used == 0
    assert budget.peak == 60


def test_what_can_never_fit_is_refused_with_its_size() -> None:
    with pytest.raises(OverBudgetError, match="101"):
        Budget(100).lease(101)


def test_a_lease_grows_only_where_there_is_room() -> None:
    budget = Budget(100)
    first, second = budget.lease(50), budget.lease(40)
    assert first is not None
    assert second is not None
    first.spend(60)
    with pytest.raises(LeaseTooSmallError) as told:
        first.spend(1)
    assert told.value.wanted == 61
    assert budget.used == 100


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=60))
def test_never_above_the_total(actions: list[tuple[int, int]]) -> None:
    budget = Budget(100)
    leases = [budget.lease(0) for _ in range(3)]
    for which, size in actions:
        if which == 3:
            leases = [lease for lease in leases if lease and (lease.close() or False)] or [budget.lease(0)] * 3
            continue
        lease = leases[which % len(leases)]
        try:
            assert lease is not None
            lease.spend(size)
        except LeaseTooSmallError as error:
            assert error.wanted > lease.size
        assert 0 <= budget.used <= budget.total
        assert budget.peak <= budget.total


def test_many_threads_never_overdraw() -> None:
    budget = Budget(1000)
    worst = []

    def work() -> None:
        for _ in range(300):
            lease = budget.lease(90)
            if lease:
                worst.append(budget.used)
                lease.close()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) <= 1000
    assert budget.used == 0
