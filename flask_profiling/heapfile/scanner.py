"""A ``.heapsnapshot`` as a stream of sections, in the order that V8 writes them; what the numbers mean is not known
here."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import DamagedData

_CHUNK = 1 << 20
_LONGEST_HEAD = 1 << 20
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Scanner:
    """Reads forward through one file; each method picks up where the one before ended. All raise DamagedData."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""

    def head(self) -> dict[str, object]:
        """Return the value of ``"snapshot"`` and stand before the section of nodes."""
        mark = b'"nodes":['
        text = b""
        while mark not in text:
            text += self._more()
            if len(text) > _LONGEST_HEAD + _CHUNK:
                raise damaged("it does not begin like one")
        head, _, self._rest = text.partition(mark)
        try:
            document = json.loads(head.rstrip().removesuffix(b",") + b"}")
            snapshot: dict[str, object] = document["snapshot"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise damaged("its head cannot be read") from None
        return snapshot

    def skip_to(self, section: bytes) -> None:
        """Stand before the values of a later section."""
        mark = b'"%s":[' % section
        text = b""
        while True:
            text = text[-len(mark) :] + self._more()
            if mark in text:
                self._rest = text.partition(mark)[2]
                return

    def rows(self, columns: int) -> Iterator[array[int]]:
        """Yield the numbers of a section in flat arrays of whole rows."""
        carried = array("I")
        for numbers in self._numbers():
            carried.extend(numbers)
            whole = len(carried) - len(carried) % columns
            yield carried[:whole]
            del carried[:whole]
        if carried:
            raise damaged("a row in it is not whole")

    def _numbers(self) -> Iterator[array[int]]:
        part = b""
        while True:
            head, bracket, rest = self._more().partition(b"]")
            text = part + head
            if bracket:
                self._rest = rest
                if text.strip():
                    yield _whole_numbers(text)
                return
            text, _, part = text.rpartition(b",")
            if text:
                yield _whole_numbers(text)

    def strings(self) -> Iterator[bytes]:
        """Yield the strings of a section as they are written, in quotes."""
        text = b""
        while True:
            end = 0
            for found in _STRING.finditer(text):
                yield found.group()
                end = found.end()
            text = text[end:]
            if text.lstrip(b", \r\n\t").startswith(b"]"):
                return
            text += self._more()

    def _more(self) -> bytes:
        chunk = self._rest or self._file.read(_CHUNK)
        self._rest = b""
        if not chunk:
            raise damaged("it ends in the middle")
        return chunk


def damaged(reason: str) -> DamagedData:
    """Return the error for a file that is no heap snapshot."""
    return DamagedData(f"this is not a whole .heapsnapshot, {reason}; take another with: flask profiling heap")


def _whole_numbers(text: bytes) -> array[int]:
    if b"e" not in text:  # true and false would be taken for 1 and 0
        try:
            return array("I", json.loads(b"[%b]" % text))
        except (ValueError, TypeError, OverflowError, RecursionError):
            pass
    raise damaged("it holds something that is no 32-bit number")
