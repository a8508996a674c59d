"""Checked reading of decoded JSON: each function returns the value in its type or raises DamagedData.

Parts and recordings are read back from files that other processes (or vandals) wrote, so nothing in them is trusted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..errors import DamagedData


def mapping(value: object) -> Mapping[str, object]:
    """Return ``value`` as a mapping with text keys."""
    if isinstance(value, dict):
        return value
    raise DamagedData(f"expected an object, found {type(value).__name__}; delete the damaged file")


def sequence(value: object) -> Sequence[object]:
    """Return ``value`` as a sequence."""
    if isinstance(value, list):
        return value
    raise DamagedData(f"expected a list, found {type(value).__name__}; delete the damaged file")


def row(value: object, length: int) -> Sequence[object]:
    """Return ``value`` as a sequence of exactly ``length`` items."""
    items = sequence(value)
    if len(items) == length:
        return items
    raise DamagedData(f"expected {length} values in a row, found {len(items)}; delete the damaged file")


def text(value: object) -> str:
    """Return ``value`` as text."""
    if isinstance(value, str):
        return value
    raise DamagedData(f"expected text, found {type(value).__name__}; delete the damaged file")


def texts(value: object) -> tuple[str, ...]:
    """Return ``value`` as a tuple of texts."""
    return tuple(text(item) for item in sequence(value))


def flag(value: object) -> bool:
    """Return ``value`` as a truth value."""
    if isinstance(value, bool):
        return value
    raise DamagedData(f"expected true or false, found {type(value).__name__}; delete the damaged file")


def integer(value: object) -> int:
    """Return ``value`` as a whole number of at most 256 bits: no count is longer, and sums of them fit into a float."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise DamagedData(f"expected a whole number, found {type(value).__name__}; delete the damaged file")
    if value.bit_length() > 256:
        raise DamagedData("expected a whole number of 256 bits, found a longer one; delete the damaged file")
    return value


def count(value: object) -> int:
    """Return ``value`` as a whole number that is not negative."""
    number = integer(value)
    if number >= 0:
        return number
    raise DamagedData("expected a count, found a negative number; delete the damaged file")


def index(value: object, length: int) -> int:
    """Return ``value`` as an index into something of ``length`` items."""
    number = count(value)
    if number < length:
        return number
    raise DamagedData(f"index {number} points past the {length} items there are; delete the damaged file")


def real(value: object) -> float:
    """Return ``value`` as a finite number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise DamagedData("expected a finite number; delete the damaged file")


def optional_real(value: object) -> float | None:
    """Return ``value`` as a finite number, or None."""
    return None if value is None else real(value)
