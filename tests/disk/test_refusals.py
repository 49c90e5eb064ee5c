"""What a disk refuses, under one name and with the remedy of who was writing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from phenostream import disk
from phenostream.errors import DiskFullError, ForbiddenError


@pytest.mark.parametrize("number", sorted(disk.FULL | disk.CLOSED | disk.MISPLACED))
def test_a_refusal_carries_the_reason_the_remedy_and_its_cause(number: int) -> None:
    with (
        pytest.raises(DiskFullError) as told,
        disk.named("cannot write /x", remedy="free disk space"),
    ):
        raise OSError(number, "in a library's own words")
    assert str(told.value) == f"cannot write /x: {os.strerror(number)} (free disk space)"
    assert isinstance(told.value.__cause__, OSError)
    assert told.value.__cause__.errno == number


def test_a_disk_that_is_full_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="No space left"), disk.named("cannot write", remedy="free disk space"):
        Path("/dev/full").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(DiskFullError, match="Not a directory"), disk.named("cannot write", remedy="free disk space"):
        (tmp_path / "file" / "inner").write_bytes(b"x")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file"),
        ConnectionResetError(errno.ECONNRESET, "gone"),
        DiskFullError("named already"),
        ForbiddenError("a server's word"),
        ValueError("no error of the system's"),
    ],
)
def test_all_else_passes_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as told, disk.named("cannot write", remedy="free disk space"):
        raise error
    assert told.value is error
    assert not disk.refused(error)


def test_what_counts_can_be_narrowed() -> None:
    closed = PermissionError(errno.EACCES, "not yours")
    assert disk.refused(closed)
    assert not disk.refused(closed, disk.FULL)
    with pytest.raises(PermissionError) as told, disk.named("cannot write", remedy="no", refusals=disk.FULL):
        raise closed
    assert told.value is closed
