"""Who is who among processes: alive or not, since when, and where a pid means something; none is started or ended."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path


def process_started(pid: int, *, proc: str = "/proc") -> int:
    """Return when a process started, in clock ticks after boot, or 0 where that is unknown.

    Together with the pid it tells a recycled pid apart (field 22 of ``/proc/PID/stat``, proc_pid_stat(5)).
    """
    return _status(pid, proc)[1]


def pid_alive(pid: int, started: int = 0, *, proc: str = "/proc") -> bool:
    """Tell whether the process ``pid`` runs; with ``started`` (as from :func:`process_started`), that very process.

    A zombie runs no more. Where it cannot be known (Windows), a process counts as alive.
    """
    if pid <= 0:
        return False
    if sys.platform == "win32":  # os.kill(pid, 0) would send Ctrl-C there
        return True
    state, found = _status(pid, proc)
    if state in ("Z", "X"):
        return False
    if found:
        return started in (0, found)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def process_space(*, proc: str = "/proc") -> str:
    """Return eight hexadecimal digits for the host and pid namespace in which this process's pids mean something.

    Containers that share an output directory differ in it.
    """
    try:
        namespace = str(Path(proc, "self", "ns", "pid").readlink())
    except OSError:
        namespace = ""
    return hashlib.blake2b(f"{platform.node()}\0{namespace}".encode(), digest_size=4).hexdigest()


def _status(pid: int, proc: str) -> tuple[str, int]:
    """Return state and start time of a process, ``("", 0)`` where they are unknown."""
    try:
        # The name of the program stands in parentheses and may hold spaces and parentheses itself.
        fields = Path(proc, str(pid), "stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode("ascii"), int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", 0
