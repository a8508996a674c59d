"""The profiler of last resort: what ``_lsprof.Profiler`` counts, in plain Python; it hooks nothing by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import CodeType
from typing import NamedTuple


class SubEntry(NamedTuple):
    """What one function cost when called from one caller; the fields of ``_lsprof.profiler_subentry``."""

    code: CodeType | str
    callcount: int
    reccallcount: int
    totaltime: float
    inlinetime: float


class Entry(NamedTuple):
    """What one function cost; the fields of ``_lsprof.profiler_entry``, times in seconds."""

    code: CodeType | str
    callcount: int
    reccallcount: int
    totaltime: float
    inlinetime: float
    calls: list[SubEntry] | None


class _Count:
    """Calls, of which recursive, seconds with and without the functions called, and how often it is open now."""

    __slots__ = ("calls", "code", "inline", "level", "recursive", "total")

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.calls = 0
        self.recursive = 0
        self.total = 0.0
        self.inline = 0.0
        self.level = 0

    def close(self, total: float, inline: float) -> None:
        self.level -= 1
        self.calls += 1
        self.inline += inline
        if self.level:
            self.recursive += 1
        else:
            self.total += total


class _Function(_Count):
    __slots__ = ("callees",)

    def __init__(self, code: CodeType) -> None:
        super().__init__(code)
        self.callees: dict[int, _Count] = {}


class _Open:
    """A call that has not returned: the function, the same seen from its caller, when it began, seconds in callees."""

    __slots__ = ("began", "function", "inside", "seen_from_caller")

    def __init__(self, function: _Function, seen_from_caller: _Count | None, began: float) -> None:
        self.function = function
        self.seen_from_caller = seen_from_caller
        self.began = began
        self.inside = 0.0


class PythonProfiler:
    """Counts calls, edges and times from the callbacks of ``sys.monitoring``, for one thread at a time.

    It has the callbacks of ``_lsprof.Profiler`` under the same names and gives the same numbers, several times slower.
    ``timer`` returns seconds.
    """

    __slots__ = ("_busy", "_closed", "_functions", "_open", "_timer")

    def __init__(self, *, timer: Callable[[], float] = time.perf_counter) -> None:
        self._functions: dict[int, _Function] = {}
        self._open: list[_Open] = []
        self._timer = timer
        self._busy = False
        self._closed = False

    def _pystart_callback(self, code: CodeType, offset: int, exception: object = None) -> None:
        self._busy = True
        try:
            if not self._closed:
                self._begin(code)
        finally:
            self._busy = False

    _pythrow_callback = _pystart_callback

    def _pyreturn_callback(self, code: CodeType, offset: int, value: object) -> None:
        self._busy = True
        try:
            if not self._closed:
                self._end()
        finally:
            self._busy = False

    def _begin(self, code: CodeType) -> None:
        # keyed by identity, as in C: hashing a code object hashes its bytecode
        key = id(code)
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = _Function(code)
        seen_from_caller = None
        if self._open:
            callees = self._open[-1].function.callees
            seen_from_caller = callees.get(key)
            if seen_from_caller is None:
                seen_from_caller = callees[key] = _Count(code)
            seen_from_caller.level += 1
        function.level += 1
        self._open.append(_Open(function, seen_from_caller, self._timer()))

    def _end(self) -> None:
        if not self._open:
            return
        call = self._open.pop()
        total = self._timer() - call.began
        inline = total - call.inside
        if self._open:
            self._open[-1].inside += total
        call.function.close(total, inline)
        if call.seen_from_caller is not None:
            call.seen_from_caller.close(total, inline)

    def flush(self) -> None:
        """End all calls that are open, as if they returned now; in the thread that the profiler is used in."""
        while self._open:
            self._end()

    def close(self) -> None:
        """Take no more, from any thread: wait for the callback that may be at work, then end what is open."""
        self._closed = True
        patience = 1000
        while self._busy and patience:
            time.sleep(0.001)
            patience -= 1
        self.flush()

    def getstats(self) -> list[Entry]:
        """Return one entry per function that returned at least once."""
        return [
            Entry(known.code, known.calls, known.recursive, known.total, known.inline, _callees(known))
            for known in list(self._functions.values())
            if known.calls
        ]


def _callees(function: _Function) -> list[SubEntry] | None:
    return [
        SubEntry(count.code, count.calls, count.recursive, count.total, count.inline)
        for count in list(function.callees.values())
    ] or None
