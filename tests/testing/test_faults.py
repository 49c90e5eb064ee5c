"""Injections say what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from phenostream.testing import faults
from phenostream.testing.faults import Injection


@pytest.mark.parametrize(
    ("injection", "options", "text"),
    [
        (
            Injection("fsync", 3, "KILL"),
            ["-e", "inject=?fsync:signal=KILL:when=3"],
            "KILL at fsync 3",
        ),
        (
            Injection("rename", 1, "ENOSPC", onwards=True),
            ["-e", "inject=?rename,?renameat,?renameat2:error=ENOSPC:when=1+"],
            "ENOSPC at rename 1+",
        ),
        (
            Injection("write", 2, "EIO", threads=True),
            ["-f", "-e", "inject=?write:error=EIO:when=2"],
            "EIO at write 2 in any thread",
        ),
    ],
)
def test_an_injection_is_one_option_of_strace(injection: Injection, options: list[str], text: str) -> None:
    assert injection.options() == options
    assert str(injection) == text


def test_where_nobody_may_attach_that_is_said_before_a_run_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Yama's ptrace_scope=1 has it: strace traces what it starts, and nothing else."""
    words = "strace: attach: ptrace(PTRACE_SEIZE, 7): Operation not permitted"
    strace = tmp_path / "strace"
    strace.write_text(f'#!/bin/sh\ncase "$*" in *-p*) echo "{words}" >&2; exit 1;; esac\n')
    strace.chmod(0o755)
    monkeypatch.setattr(faults, "_STRACE", str(strace))
    assert words in faults.why_not()
    strace.write_text('#!/bin/sh\necho "strace: Process 7 attached" >&2\nexec sleep 600\n')
    assert faults.why_not() == ""
    monkeypatch.setattr(faults, "_STRACE", "")
    assert "not installed" in faults.why_not()
