"""How much memory a snapshot needs and how much there is; reads files under /proc and /sys, decides nothing else."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

# A walk keeps about half of the resident size, and copying every page that it touches may cost the resident size once.
_ADDRESS_SPACE = 0.75
_RESIDENT = 1.5
_LEAST = 64 << 20


def shortage(root: Path = Path("/")) -> str:
    """Return why there is too little memory for a snapshot, or an empty string.

    ``root`` is where ``/proc`` and ``/sys`` are mounted. Where nothing can be read nothing is refused: the child then
    fails alone.
    """
    status = _fields(root / "proc/self/status")
    resident = status.get("VmRSS", 0)
    if not resident:
        return ""
    room = min(_rooms(root, status), default=(float("inf"), ""))
    need = max(_LEAST, resident * (_ADDRESS_SPACE if room[1] == _LIMIT else _RESIDENT))
    if room[0] >= need:
        return ""
    return f"it may need {need / 2**20:.0f} MB and {room[1]} leaves {room[0] / 2**20:.0f} MB"


_LIMIT = "the address space limit (ulimit -v)"


def _rooms(root: Path, status: dict[str, int]) -> Iterator[tuple[float, str]]:
    available = _fields(root / "proc/meminfo").get("MemAvailable")
    if available is not None:
        yield available, "the machine"
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        # weighed so that the smallest entry is the scarcest
        yield limit - status.get("VmSize", 0), _LIMIT
    group = root / "sys/fs/cgroup"
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        numbers = [_number(group / name) for name in (most, used)]
        if numbers[0] is not None and numbers[1] is not None:
            yield numbers[0] - numbers[1], "the container"


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
