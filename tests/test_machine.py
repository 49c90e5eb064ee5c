from __future__ import annotations

from pathlib import Path

import pytest

from phenostream import machine
from phenostream.machine import container_memory, free_memory


def test_the_memory_of_this_machine_is_read() -> None:
    assert 1e6 < free_memory() < 1e14


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    """Files as the kernel writes them: cgroup v2, then v1, then none and one without a limit."""
    assert container_memory(tmp_path) == []
    (tmp_path / "memory.max").write_text("4000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500000000\n")
    assert container_memory(tmp_path) == [3_000_000_000]
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory(tmp_path) == []
    (tmp_path / "memory").mkdir()
    for name, told in (("limit_in_bytes", "1000"), ("usage_in_bytes", "3000"), ("stat", "total_inactive_file 0")):
        (tmp_path / "memory" / f"memory.{name}").write_text(told)
    assert container_memory(tmp_path) == [0]


def test_a_container_has_its_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    assert free_memory() > 10**7
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 10**7
    (tmp_path / "memory.max").write_text("1000000\n")
    assert free_memory() == 1_000_000
