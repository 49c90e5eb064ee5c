"""What this machine, and the container that a process is in, can still give."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def free_memory(*, unknown: float = 1.0) -> int:
    """Bytes that this machine, or the container that this process is in, could still give out, as Linux tells.

    Args:
        unknown: share of the physical memory that is taken for free where nothing tells what is.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        free = 1024 * int(line.split()[1])
    except (OSError, ValueError):
        free = int(unknown * physical)
    return min(physical, free, *container_memory(_GROUPS))


def container_memory(root: Path) -> list[int]:
    """Bytes that the control groups in `root` leave this process, one each; none where nothing is limited.

    Files' cache is free. Source: the kernel's admin guide, cgroup-v2 (memory.max, memory.current) and cgroup-v1
    (memory.limit_in_bytes).
    """
    left = []
    for folder, limit, used, cache in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # another version of control groups, or no limit ("max")
            most, taken = int((folder / limit).read_text()), 0
            with suppress(OSError, ValueError):  # nothing tells what is used
                told = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                taken = int((folder / used).read_text()) - int(told.get(cache, 0))
            left.append(max(0, most - taken))
    return left
