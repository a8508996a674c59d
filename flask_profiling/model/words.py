"""How numbers and times are written for people, wherever they are shown; no data lives here."""

from __future__ import annotations

from datetime import datetime, timezone

# Unix seconds, of the year 8307: a datetime ends before the year 10000.
_LAST = 2e11


def human_size(size: int) -> str:
    """Write a number of bytes for people, such as ``512B`` or ``2.4MB``; 1 KB is 1000 bytes, as in Chrome and in SI."""
    amount = float(size)
    for unit in ("B", "KB", "MB", "GB"):
        if round(amount, 1) < 1000:
            return f"{size}B" if unit == "B" else f"{amount:.1f}{unit}"
        amount /= 1000
    return f"{amount:.1f}TB"


def utc(seconds: float) -> datetime:
    """Return the moment of Unix seconds in UTC, or the nearest one that can be written."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LAST), timezone.utc)
