"""Injections say what they mean."""

from __future__ import annotations

import pytest

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
