"""pprof's ``profile.proto``, gzipped: each path with its calls and nanoseconds, for ``go tool pprof`` and speedscope.

The message is github.com/google/pprof/proto/profile.proto. It is encoded by hand: whole numbers as varints, everything
else as bytes with their length in front.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import BinaryIO

from ..model import Function, SessionRecording
from ._collected import notes, readable
from ._paths import Paths, paths

# Numbers of fields, by message.
_SAMPLE_TYPE, _SAMPLE, _LOCATION, _FUNCTION, _STRINGS, _TIME, _DURATION, _COMMENT, _DEFAULT = (
    1, 2, 4, 5, 6, 9, 10, 13, 14,
)  # fmt: skip
_VARINT, _BYTES = 0, 2
_MOST = 2**63 - 1


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the profile; raises Unavailable where no calls were recorded.

    Sample values are ``wall`` in nanoseconds and, where the recording knows them for each path, ``calls``. The label
    ``route`` tells routes apart, which are also the outermost frames.
    What is deeper than 1,000 frames stands below one frame that says so, by function.
    """
    found = paths(recording).shallow()
    message = _Message()
    is_counted = any(found.calls)
    for kind, unit in [("calls", "count"), ("wall", "nanoseconds")][not is_counted :]:
        message.add(_SAMPLE_TYPE, _number(1, message.text(kind)) + _number(2, message.text(unit)))
    places = _add_functions(message, found)
    _add_samples(message, found, places, is_counted=is_counted)
    message.add_number(_TIME, _whole(recording.session.started * 1e9))
    message.add_number(_DURATION, _whole((recording.session.duration or 0.0) * 1e9))
    for note in notes(recording):
        message.add_number(_COMMENT, message.text(note))
    message.add_number(_DEFAULT, message.text("wall"))
    # Without a moment in the header, equal recordings make equal files.
    out.write(gzip.compress(message.encoded(), mtime=0))


def _add_functions(message: _Message, found: Paths) -> list[int]:
    """Add a function and a location for each of its definition, and return the location of each node."""
    known: dict[Function, int] = {}
    places: list[int] = []
    for function in found.functions:
        place = known.get(function)
        if place is None:
            place = known[function] = len(known) + 1
            line = _whole(function.line)
            named = _number(2, message.text(function.name)) + _number(4, message.text(function.file))
            message.add(_FUNCTION, _number(1, place) + named + _number(5, line))
            message.add(_LOCATION, _number(1, place) + _field(4, _number(1, place) + _number(2, line)))
        places.append(place)
    return places


def _add_samples(message: _Message, found: Paths, places: list[int], *, is_counted: bool) -> None:
    key = message.text("route")
    for node in found.in_order():
        calls, time = found.calls[node], _whole(found.self_times[node] * 1e9)
        if not calls and not time:
            continue
        stack = found.stack(node)
        values = [min(calls, _MOST), time][not is_counted :]
        label = _number(1, key) + _number(2, message.text(found.functions[stack[-1]].name))
        packed = _field(1, _varints(places[item] for item in stack)) + _field(2, _varints(values))
        message.add(_SAMPLE, packed + _field(3, label))


class _Message:
    """A Profile message as it grows, and its table of strings, of which the first is empty."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._strings: dict[str, int] = {"": 0}

    def text(self, text: str) -> int:
        """Return the number of a string."""
        return self._strings.setdefault(readable(text), len(self._strings))

    def add(self, field: int, content: bytes) -> None:
        """Append a message within the message."""
        self._parts.append(_field(field, content))

    def add_number(self, field: int, value: int) -> None:
        """Append a number."""
        self._parts.append(_number(field, value))

    def encoded(self) -> bytes:
        """Return the bytes of the whole message."""
        return b"".join([*self._parts, *(_field(_STRINGS, text.encode()) for text in self._strings)])


def _whole(amount: float) -> int:
    return min(max(0, round(amount)), _MOST) if amount == amount else 0


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _varints(values: Iterable[int]) -> bytes:
    return b"".join(map(_varint, values))


def _varint(value: int) -> bytes:
    """Return seven bits per byte, the lowest first; all bytes but the last have the highest bit set."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
