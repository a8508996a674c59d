"""How one configured value is read and how it is shown; no table of settings here.

Every reader returns the value in its type or raises ValueError. A value comes from ``app.config`` in its own type or as
text, and from the environment as text.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

# A week: long enough for every leak, short enough that a mistyped number is noticed.
LONGEST_SECONDS = 7 * 24 * 3600.0

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off", ""})
_WHOLE = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18}")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([kmgt]i?b|b)?", re.IGNORECASE | re.ASCII)
_SIZE_UNITS = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[\x21-\x7e]*")
_URL_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_COORDINATOR = re.compile(r"(?:rediss?://[^\s/][^\s]*)?")
_ADDRESS = re.compile(
    r"(?P<scheme>\w+://)(?P<user>[^@/?#\s]*@)?(?P<place>(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d+)?(?:/\d*)?)(?P<query>\?[^@]*)?"
)
_SHOWN_LENGTH = 60


def flag(value: object) -> bool:
    """Read a switch, in any case: true, 1, yes, on or false, 0, no, off and the empty text."""
    word = str(value).strip().lower() if isinstance(value, (str, int)) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("not a switch")


def whole(lowest: int, highest: int) -> Callable[[object], int]:
    """Return a reader of whole numbers within bounds, both included."""

    def read(value: object) -> int:
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        raise ValueError("not a whole number within the bounds")

    return read


def seconds(most: float = LONGEST_SECONDS, *, off: bool = False) -> Callable[[object], float]:
    """Return a reader of durations in seconds, more than nothing and at most ``most``; where there is an ``off``, it is
    0."""

    def read(value: object) -> float:
        if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("not a duration")
        # Compared before it is converted: a whole number may be too large for a float, and NaN compares false.
        if 0 < value <= most or (off and value == 0):
            return float(value)
        raise ValueError("not a duration within the bounds")

    return read


def size(value: object) -> int:
    """Read a number of bytes: 1073741824, 1GiB (1024-based) or 500MB (1000-based)."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        value = math.floor(float(match[1]) * _SIZE_UNITS[(match[2] or "b").lower()])
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**63:
        return value
    raise ValueError("not a size")


def text(value: object) -> str:
    """Read text without the white space around it."""
    if isinstance(value, str):
        return value.strip()
    raise ValueError("not text")


def choice(*names: str) -> Callable[[object], str]:
    """Return a reader of one of the names, in any case."""

    def read(value: object) -> str:
        word = text(value).lower()
        if word in names:
            return word
        raise ValueError("not one of the choices")

    return read


def token(value: object) -> str:
    """Read a bearer token: what a header can carry, or nothing."""
    return _matching(_TOKEN, text(value))


def url_prefix(value: object) -> str:
    """Read a path that can stand before ours, without its trailing slash."""
    return _matching(_URL_PREFIX, text(value).rstrip("/"))


def coordinator(value: object) -> str:
    """Read the address of a Redis, or nothing."""
    return _matching(_COORDINATOR, text(value))


def hosts(value: object) -> tuple[str, ...]:
    """Read Host names with or without a port, in lower case: a list, or text separated by commas or spaces."""
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value)
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise ValueError("not a list")
    names = [text(item).lower() for item in value]
    return tuple(sorted({_matching(_HOST, name) for name in names if name}))


def paths(value: object) -> tuple[str, ...]:
    """Read paths: a list, or text separated as in PATH."""
    if isinstance(value, str):
        value = value.split(os.pathsep)
    if not isinstance(value, (list, tuple)):
        raise ValueError("not a list")
    found = [str(item) if isinstance(item, os.PathLike) else text(item) for item in value]
    return tuple(path for path in found if path)


def directory(value: object) -> Path:
    """Read a directory of its own: it is made private and old files in it are deleted, so no ``/``, ``.`` or ``..``."""
    path = os.fspath(value).strip() if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str) or "\0" in path or Path(path).name in ("", ".."):
        raise ValueError("not a directory of its own")
    return Path(path)


def _matching(pattern: re.Pattern[str], found: str) -> str:
    if pattern.fullmatch(found):
        return found
    raise ValueError("holds what it may not")


def shown(value: object) -> str:
    """Return a value as a log or an answer may show it: in ASCII, not long, and on one line, for it must forge no
    other."""
    try:
        written = ascii(value)
    except Exception:  # a value of the host's own class
        written = f"<{type(value).__name__}>"
    return written if len(written) <= _SHOWN_LENGTH else f"{written[:_SHOWN_LENGTH]}..."


def hidden(value: object) -> str:
    """Return that there is a secret, and nothing of it."""
    return "(hidden)" if value else shown(value)


def address(value: object) -> str:
    """Return an address without its password and query, or nothing of it where a password may be anywhere."""
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        user = "***@" if found["user"] else ""
        query = "?***" if found["query"] else ""
        return shown(f"{found['scheme']}{user}{found['place']}{query}")
    return hidden(value) if isinstance(value, str) and re.search("[@?]", value) else shown(value)
