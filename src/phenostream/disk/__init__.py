"""The disk: files that are whole or not there at all, what it refuses under one name, and one process a folder.

Every room that writes says the rest itself: what was being written, and what its user can do next.
"""

from __future__ import annotations

from phenostream.disk.files import (
    PART,
    beside,
    ensure_bytes,
    replace_bytes,
    replacing,
    replacing_folder,
    sync,
    sync_tree,
    taking_place,
    writing,
)
from phenostream.disk.locks import held, holder, locked
from phenostream.disk.refusals import CLOSED, FULL, MISPLACED, named, refused

__all__ = [
    "CLOSED",
    "FULL",
    "MISPLACED",
    "PART",
    "beside",
    "ensure_bytes",
    "held",
    "holder",
    "locked",
    "named",
    "refused",
    "replace_bytes",
    "replacing",
    "replacing_folder",
    "sync",
    "sync_tree",
    "taking_place",
    "writing",
]
