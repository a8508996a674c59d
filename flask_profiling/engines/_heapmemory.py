"""How much memory a snapshot needs and how much there is; reads files under /proc and /sys, decides nothing else."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# The walk keeps up to half of the resident size; besides, it touches every object and so copies most pages of the host:
# a heap of 115 MB ended with 140 MB of its own.
_ADDRESS_SPACE = 0.75
_RESIDENT = 1.4
_LEAST = 64 << 20


class _Room(NamedTuple):
    free: float
    factor: float
    name: str


def shortage(root: Path = Path("/")) -> str:
    """Return why there is too little memory for a snapshot, or an empty string.

    ``root`` is where ``/proc`` and ``/sys`` are mounted. Where nothing can be read nothing is refused: the child then
    fails alone.
    """
    status = _fields(root / "proc/self/status")
    resident = status.get("VmRSS", 0)
    for room in _rooms(root, status):
        need = max(_LEAST, resident * room.factor)
        if resident and room.free < need:
            return f"it may need {need / 2**20:.0f} MB and {room.name} leaves {max(0.0, room.free) / 2**20:.0f} MB"
    return ""


def _rooms(root: Path, status: dict[str, int]) -> Iterator[_Room]:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield _Room(limit - status.get("VmSize", 0), _ADDRESS_SPACE, "the address space limit (ulimit -v)")
    available = _fields(root / "proc/meminfo").get("MemAvailable")
    if available is not None:
        yield _Room(available, _RESIDENT, "the machine")
    for directory in _control_groups(root):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            bound, taken = _number(directory / most), _number(directory / used)
            if bound is not None and taken is not None:
                yield _Room(bound - taken + _reclaimable(directory), _RESIDENT, "the container")


def _control_groups(root: Path) -> Iterator[Path]:
    """Yield the directories of this process's control groups (version 2, then version 1) and the groups around them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for mount in (root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory"):
        yield mount
        for line in lines:
            _, controllers, path = [*line.split(":", 2), "", ""][:3]
            if controllers in ("", "memory"):
                inner = mount / path.strip("/")
                while inner != mount and mount in inner.parents:
                    yield inner
                    inner = inner.parent


def _reclaimable(directory: Path) -> int:
    """Return the bytes of file cache in a control group, which the kernel gives up first."""
    try:
        rows = [line.split() for line in (directory / "memory.stat").read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(row[1]) for row in rows if len(row) == 2 and row[0] == "inactive_file" and row[1].isdigit())


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """Return the lines ``Name:  123 kB`` of a file as bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    rows = (line.split() for line in lines)
    return {
        row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3 and row[1].isdigit() and row[2] == "kB"
    }
