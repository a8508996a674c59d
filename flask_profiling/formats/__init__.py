"""Formats write: the table of the formats there are; each lives in its own module as a function of a recording and a
file.

``write(recording, out)`` is pure: no clock, no network, no name of a file. It raises Unavailable where the recording
has nothing for this format or a renderer is missing; a caller then leaves the artifact out and says why.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..model import SessionRecording

Writer = Callable[[SessionRecording, BinaryIO], None]
HeapWriter = Callable[[Iterable[object], BinaryIO], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One format: artifacts are named ``{prefix}-{session id}{suffix}``.

    ``kinds`` are the kinds of data it can write, of which one must be recorded (empty: any recording will do);
    ``when`` is ``"stop"`` (always written at stop), ``"auto"`` (at stop with ``PROFILING_AUTO_GENERATE``, or on
    request), ``"export"`` (on request only) or ``"engine"`` (an engine streams it to the spool itself).
    """

    prefix: str
    suffix: str
    kinds: tuple[str, ...]
    when: str
    entry: str

    def filename(self, session_id: str) -> str:
        """Return the artifact's name for a session."""
        return f"{self.prefix}-{session_id}{self.suffix}"

    def writer(self) -> Writer:
        """Import the module and return its write function."""
        write: Writer = self._load()
        return write

    def heap_writer(self) -> HeapWriter:
        """Import the module of a format that writes a walk over the heap instead, and return its write function."""
        write: HeapWriter = self._load()
        return write

    def _load(self) -> Any:
        module, _, function = self.entry.partition(":")
        return getattr(importlib.import_module(module), function)


# kinds of data that tell of calls
_CALLS = ("calltree", "callgraphs")

# type of artifact -> how it is named and written; the order is the order of the artifacts in an answer
FORMATS: dict[str, Format] = {
    "cpuprofile": Format("profile", ".cpuprofile", _CALLS, "stop", "flask_profiling.formats.cpuprofile:write"),
    "pstats": Format("profile", ".prof", _CALLS, "stop", "flask_profiling.formats.pstats:write"),
    "trace": Format("trace", ".json", ("calltree",), "stop", "flask_profiling.formats.trace:write"),
    "dot": Format("callgraph", ".dot", _CALLS, "stop", "flask_profiling.formats.dot:write"),
    "svg": Format("callgraph", ".svg", _CALLS, "auto", "flask_profiling.formats.svg:write"),
    "html": Format("report", ".html", (), "auto", "flask_profiling.formats.html:write"),
    "collapsed": Format("profile", ".collapsed.txt", _CALLS, "export", "flask_profiling.formats.collapsed:write"),
    "speedscope": Format("profile", ".speedscope.json", _CALLS, "export", "flask_profiling.formats.speedscope:write"),
    "pprof": Format("profile", ".pb.gz", _CALLS, "export", "flask_profiling.formats.pprof:write"),
    "callgrind": Format("callgrind", ".out", _CALLS, "export", "flask_profiling.formats.callgrind:write"),
    "heapsnapshot": Format("heap", ".heapsnapshot", (), "engine", "flask_profiling.formats.heapsnapshot:write_heap"),
    "heapprofile": Format(
        "allocations", ".heapprofile", ("allocations",), "stop", "flask_profiling.formats.heapprofile:write"
    ),
    "recording": Format("recording", ".json", (), "stop", "flask_profiling.formats.recording:write"),
}


def filenames() -> dict[str, tuple[str, str]]:
    """Return how artifacts of each type are called: what stands before the session's id, and what behind."""
    return {name: (format.prefix, format.suffix) for name, format in FORMATS.items()}
