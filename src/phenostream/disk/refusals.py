"""What the system says when a disk refuses, under this project's name for it."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phenostream.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The disk takes no more: no room, no quota, read-only, failing, a file larger than it can hold.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
#: The place is not ours to write.
CLOSED = frozenset({errno.EACCES, errno.EPERM})
#: No file can have that name: it is too long, or a file stands where a folder should.
MISPLACED = frozenset({errno.ENOTDIR, errno.ENAMETOOLONG})


@contextmanager
def named(told: str, *, remedy: str, refusals: frozenset[int] = FULL | CLOSED | MISPLACED) -> Iterator[None]:
    """Raise DiskFullError for what the disk refuses in the block; every other error passes as it is.

    Args:
        told: what cannot be done; the system's own reason is put behind it.
        remedy: what the user can do next.
        refusals: the system's error numbers that count as a refusal.
    """
    try:
        yield
    except OSError as error:
        if not refused(error, refusals):
            raise
        raise DiskFullError(f"{told}: {os.strerror(error.errno or 0)}", remedy=remedy) from error


def refused(error: BaseException, refusals: frozenset[int] = FULL | CLOSED | MISPLACED) -> bool:
    """Whether `error` is the system's, and says that the disk refuses; this project's own carry no number."""
    return isinstance(error, OSError) and error.errno in refusals
