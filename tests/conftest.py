"""Where the real data lies, and the promise that CI has it."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable

# CI asks the same questions every time, so that a red run can be repeated; elsewhere new ones are made up.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real test data: ``PHENOSTREAM_TEST_DATA`` or ``../shared/data`` beside the project."""
    folder = Path(os.environ.get("PHENOSTREAM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI must have the real test data, but {folder} is not there")
        pytest.skip(f"real test data is not at {folder}; set PHENOSTREAM_TEST_DATA to run this test")
    return folder


#: Arrow frees what a pool gave through that pool: none may go before what it gave.
_POOLS: list[Any] = []


@pytest.fixture
def groups_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The row groups that are read of Parquet files, in their order, as they are read."""
    seen: list[int] = []
    read = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, *arguments: Any, **named: Any) -> Any:
        seen.append(group)
        return read(self, group, *arguments, **named)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    return seen


@pytest.fixture
def peak_memory() -> Callable[[Callable[[], object]], int]:
    """The most bytes that Python, NumPy and Arrow hold while a function runs, beyond what they held before it.

    Counted by the allocators themselves, so that the same work gives the same figure; what it returns is thrown away.
    """
    import pyarrow as pa

    def measured(work: Callable[[], object]) -> int:
        default = pa.default_memory_pool()
        pool = pa.proxy_memory_pool(default)
        _POOLS.append(pool)
        gc.collect()
        pa.set_memory_pool(pool)
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1] + pool.max_memory()
        finally:
            tracemalloc.stop()
            pa.set_memory_pool(default)
            gc.collect()

    return measured
