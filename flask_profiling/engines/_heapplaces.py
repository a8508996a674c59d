"""Where objects are: addresses made small, and the table from an object's place to its node number; no object is
looked into here.

The address space is cut into pages. A page gets an ordinal when an object is first met in it, and keeps it for the
life of the process, so a place (ordinal and slot) is small, unique, the same in every walk, and not the address.
Objects are at least 16 bytes long: no two share a slot.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from operator import itemgetter

_PAGE_BITS = 18
_SLOT_BITS = _PAGE_BITS - 4
_SLOTS = 1 << _SLOT_BITS
_EMPTY_PAGE = bytes(4 * _SLOTS)
# Places must stay below 2**31, with some to spare for a format's own use.
_MOST_PAGES = (1 << (31 - _SLOT_BITS)) - 2

try:
    from ctypes import string_at as _string_at
except ImportError:  # a Python built without libffi
    _string_at = None  # type: ignore[assignment]


class _Pages(dict[int, int]):
    """Page number -> its first place; a new page makes room in the table."""

    def __init__(self, known: Iterable[int], table: array[int]) -> None:
        super().__init__((page, ordinal << _SLOT_BITS) for ordinal, page in enumerate(known, 1))
        self._table = table
        for _ in range(len(self) + 1):  # no page has the ordinal 0, so that no place is 0
            table.frombytes(_EMPTY_PAGE)

    def __missing__(self, page: int) -> int:
        if len(self) >= _MOST_PAGES:
            raise MemoryError("the heap spans more than 32 GiB of addresses")
        self[page] = first = len(self._table)
        self._table.frombytes(_EMPTY_PAGE)
        return first


class Places:
    """The places and node numbers of one walk.

    ``known_pages`` are the pages of earlier walks in the order of their ordinals; :attr:`pages` is that list, grown.
    """

    def __init__(self, known_pages: Sequence[int]) -> None:
        self.table: array[int] = array("I")
        self._pages = _Pages(known_pages, self.table)
        self._masks: dict[int, int] = {}
        self.of: Callable[[tuple[object, ...]], Sequence[int]] = self._of_any
        if _reads_tuples():
            self.of = self._of_raw

    @property
    def pages(self) -> list[int]:
        """The pages in the order of their ordinals."""
        return list(self._pages)

    def numbers(self, places: Sequence[int]) -> Sequence[int]:
        """Return the node numbers at ``places``, 0 where there is none yet."""
        if len(places) > 1:
            found: Sequence[int] = itemgetter(*places)(self.table)
            return found
        return [self.table[place] for place in places]

    def assign(self, places: Iterable[int], first: int, step: int) -> None:
        """Number the objects at ``places`` from ``first`` on."""
        deque(map(self.table.__setitem__, places, count(first, step)), 0)

    def note_new(self, candidates: Iterable[object], mark: int, places: list[int], objects: list[object]) -> None:
        """Number those of a few ``candidates`` that have no number yet with ``mark``, and add them to ``objects`` and
        their places to ``places``."""
        pages, table = self._pages, self.table
        for value in candidates:
            address = id(value)
            place = pages[address >> _PAGE_BITS] + (address >> 4 & _SLOTS - 1)
            if not table[place]:
                table[place] = mark
                places.append(place)
                objects.append(value)

    def _of_any(self, objects: tuple[object, ...]) -> Sequence[int]:
        pages = self._pages
        return [pages[address >> _PAGE_BITS] + (address >> 4 & _SLOTS - 1) for address in map(id, objects)]

    def _of_raw(self, objects: tuple[object, ...]) -> Sequence[int]:
        """Do the same, four times as fast: read the addresses out of the tuple, and shift and add them all at once,
        as one long number."""
        length = len(objects)
        if length < 4:
            return self._of_any(objects)
        mask = self._masks.get(length)
        if mask is None:
            mask = self._masks[length] = int.from_bytes((_SLOTS - 1).to_bytes(8, "little") * length, "little")
        addresses = int.from_bytes(_string_at(id(objects) + tuple.__basicsize__, 8 * length), "little")
        shifted = (addresses >> (_PAGE_BITS - 16)).to_bytes(8 * length + 2, "little")
        pages = array("I", shifted[2:])[::2]
        firsts = array("Q", itemgetter(*pages)(self._pages))
        places = array("Q")
        total = (addresses >> 4 & mask) + int.from_bytes(firsts.tobytes(), "little")
        places.frombytes(total.to_bytes(8 * length, "little"))
        return places


def _reads_tuples() -> bool:
    """Tell whether a tuple's items can be read as raw little-endian 64-bit addresses on this Python."""
    if _string_at is None or sys.byteorder != "little" or sys.maxsize != 2**63 - 1 or array("I").itemsize != 4:
        return False
    if sys.implementation.name != "cpython":
        return False
    probe = (object(), None, 7, "probe", object())
    raw = array("Q", _string_at(id(probe) + tuple.__basicsize__, 8 * len(probe)))
    return list(raw) == list(map(id, probe))
