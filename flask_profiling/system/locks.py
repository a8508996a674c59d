"""Locks on open files, which the kernel lets go of when their holder dies; no name and no path is known here."""

from __future__ import annotations

from contextlib import suppress

try:
    import fcntl
except ImportError:  # Windows: one worker only, which needs no lock
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None


def try_lock(descriptor: int) -> bool:
    """Lock an open file without waiting; True where it is ours now, and where there are no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Unlock an open file: closing alone would not, where the host forked while it was locked."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
